//! A tiny application, used by all tests of this crate.

pub mod gated_disk;
pub mod state_files;

use std::fmt;
use std::time::{Duration, Instant};

use openraft::type_config::alias::LogIdOf;
use openraft::vote::RaftLeaderId;
use openraft::{BasicNode, LogId};
use serde::{Deserialize, Serialize};
use storage_leveldb::scan::KeyRange;
use storage_leveldb::{Application, Options, Storage, StorageError, Transaction, View};

/// Sets a key to a value; one that begins with [`APPEND`] is appended to what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    pub key: String,
    pub value: String,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// What follows is appended, unseen.
pub const APPEND: char = '+';

openraft::declare_raft_types!(
    pub Types:
        D = Set,
        R = Option<String>,
        NodeId = u64,
        Node = BasicNode,
);

/// Answers the value that was there before; of one that is appended to, nothing.
pub struct Register;

impl Application<Types> for Register {
    type Query = ();
    type Answer = Vec<(String, String)>;

    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        _: u64,
        set: &Set,
    ) -> Result<Option<String>, StorageError> {
        if let Some(appended) = set.value.strip_prefix(APPEND) {
            transaction.merge(set.key.as_bytes(), appended.as_bytes())?;
            return Ok(None);
        }
        let before = transaction.get(set.key.as_bytes())?;
        transaction.put(set.key.as_bytes(), set.value.as_bytes());
        Ok(before.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        Ok([older, operand].concat())
    }

    fn query(&self, view: &mut View<'_>, (): ()) -> Result<Self::Answer, StorageError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = view.scan(KeyRange::all());
        pairs.map(|pair| pair.map(|(key, value)| (text(&key), text(&value)))).collect()
    }
}

pub type Store = Storage<Types, Register>;

pub async fn open(dir: &std::path::Path, options: Options) -> Result<Store, StorageError> {
    Storage::open(dir, Register, options).await
}

/// The options with a change.
pub fn changed(mut options: Options, change: impl FnOnce(&mut Options)) -> Options {
    change(&mut options);
    options
}

pub fn log_id(term: u64, index: u64) -> LogIdOf<Types> {
    type LeaderId = <Types as openraft::RaftTypeConfig>::LeaderId;
    LogId::new(LeaderId::new(term, 1).to_committed(), index)
}

/// Waits until `is_so`, without a word to the storage.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
