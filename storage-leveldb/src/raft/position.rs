//! How far the state machine is.

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{LogIdOf, StoredMembershipOf};

/// The last applied log id and membership. On disk it is replaced together with the effects of what was applied.
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
}
