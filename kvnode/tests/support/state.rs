//! Everything one node stores, as a stale scan shows it: for comparing nodes with each other.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use proto::kv::v1::{Pair, ScanRequest};
use tonic::Status;

use super::Node;

/// All pairs of a node in key order.
#[derive(Debug, Clone)]
pub struct State {
    node: u64,
    pub pairs: Vec<Pair>,
}

impl State {
    /// Read from the node itself, not from the leader.
    pub async fn of(node: &Node) -> Self {
        Self::try_of(node).await.expect("a stale scan needs no leader")
    }

    /// The same of a node that may fail.
    pub async fn try_of(node: &Node) -> Result<Self, Status> {
        let request = ScanRequest { stale: true, ..ScanRequest::default() };
        let mut pages = node.kv().scan(request).await?.into_inner();
        let mut pairs = Vec::new();
        while let Some(page) = pages.message().await? {
            assert_eq!(page.header.map(|header| header.node_id), Some(node.id()), "another node answered");
            pairs.extend(page.pairs);
        }
        assert!(pairs.windows(2).all(|two| two[0].key < two[1].key), "keys are not in ascending order");
        Ok(Self { node: node.id(), pairs })
    }

    /// Made up, in key order.
    pub fn made_of(pairs: Vec<Pair>) -> Self {
        Self { node: 0, pairs }
    }

    /// Over keys, values and revisions.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for pair in &self.pairs {
            (&pair.key, &pair.value, pair.create_revision, pair.mod_revision, pair.version).hash(&mut hasher);
        }
        hasher.finish()
    }

    pub fn get(&self, key: &[u8]) -> Option<&Pair> {
        let place = self.pairs.binary_search_by(|pair| pair.key.as_ref().cmp(key));
        place.ok().map(|place| &self.pairs[place])
    }

    /// Fails the test with the first difference.
    pub fn assert_same(&self, other: &Self) {
        if self.digest() == other.digest() && self.pairs.len() == other.pairs.len() {
            return;
        }
        let only_here = self.pairs.iter().find(|pair| other.get(&pair.key) != Some(pair));
        let only_there = other.pairs.iter().find(|pair| self.get(&pair.key) != Some(pair));
        panic!(
            "node {} stores {self}, node {} stores {other}; first of what differs: {only_here:?}, {only_there:?}",
            self.node, other.node
        );
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.pairs.iter().map(|pair| pair.key.len() + pair.value.len()).sum();
        write!(f, "{} pairs of {bytes} bytes, digest {:016x}", self.pairs.len(), self.digest())
    }
}
