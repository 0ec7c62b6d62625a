//! How far the state machine is.

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, StoredMembershipOf};
use serde::{Deserialize, Serialize};

use crate::health::Fault;
use crate::lsm::manifest::{Frontier, MANIFEST};
use crate::lsm::tree::LsmTree;

/// The last applied log id and membership. On disk it is the metadata of a [`Frontier`], so it is
/// replaced together with the effects of what was applied.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Position<C: RaftTypeConfig> {
    pub(crate) applied: Option<LogIdOf<C>>,
    pub(crate) membership: StoredMembershipOf<C>,
}

impl<C: RaftTypeConfig> Clone for Position<C> {
    fn clone(&self) -> Self {
        Self { applied: self.applied.clone(), membership: self.membership.clone() }
    }
}

impl<C: RaftTypeConfig> Default for Position<C> {
    /// Nothing was applied yet.
    fn default() -> Self {
        Self { applied: None, membership: StoredMembershipOf::<C>::default() }
    }
}

impl<C: RaftTypeConfig> Position<C> {
    /// Log index of the last applied entry; 0 if there is none.
    pub(crate) fn applied_index(&self) -> u64 {
        self.applied.as_ref().map_or(0, |log_id| log_id.index)
    }

    /// The frontier of a tree at this position: the sequence number of a change is the log index of
    /// its entry.
    pub(crate) fn to_frontier(&self, tree: &LsmTree) -> Result<Frontier, Fault> {
        let metadata = codec::encode(self).map_err(|e| of_manifest(tree, e))?;
        Ok(Frontier { sequence: self.applied_index(), metadata })
    }

    /// The position of a tree at this frontier.
    pub(crate) fn of_frontier(tree: &LsmTree, frontier: &Frontier) -> Result<Self, Fault> {
        Self::decode(frontier).map_err(|reason| of_manifest(tree, reason))
    }

    fn decode(frontier: &Frontier) -> Result<Self, String> {
        if frontier.metadata.is_empty() {
            return Ok(Self::default());
        }
        let position: Self = codec::decode(&frontier.metadata).map_err(|e| e.to_string())?;
        if position.applied_index() != frontier.sequence {
            let (index, sequence) = (position.applied_index(), frontier.sequence);
            return Err(format!("its tables are at {sequence}, but its position is entry {index}"));
        }
        Ok(position)
    }

    /// How far the state on disk is.
    pub(crate) fn durable(tree: &LsmTree) -> Result<Self, Fault> {
        Self::of_frontier(tree, &tree.checkpoint().frontier)
    }

    /// The metadata of a snapshot of the state at this position.
    pub(crate) fn snapshot_meta(&self) -> SnapshotMetaOf<C> {
        SnapshotMetaOf::<C> { last_log_id: self.applied.clone(), last_membership: self.membership.clone() }
    }
}

fn of_manifest(tree: &LsmTree, reason: impl ToString) -> Fault {
    tree.disk.damaged(&tree.dir().join(MANIFEST), reason)
}
