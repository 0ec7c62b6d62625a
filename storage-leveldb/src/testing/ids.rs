//! Log ids, votes and entries of any type configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::vote::{RaftLeaderId, RaftVote};
use openraft::{EntryPayload, LogId, Membership};

use super::broken::Broken;
use super::model::Logged;
use super::subject::TestTypes;

fn leader<C: TestTypes>(term: C::Term) -> C::LeaderId {
    C::LeaderId::new(term, C::NodeId::default())
}

pub(crate) fn log_id<C: TestTypes>(term: C::Term, index: u64) -> LogIdOf<C> {
    LogId::new(leader::<C>(term).to_committed(), index)
}

/// The vote for the leader of a term; `committed`: a majority has voted so.
pub(crate) fn vote<C: TestTypes>(term: C::Term, committed: bool) -> VoteOf<C> {
    VoteOf::<C>::from_leader_id(leader::<C>(term), committed)
}

pub(crate) fn membership<C: TestTypes>() -> Membership<C::NodeId, C::Node> {
    Membership::new_with_defaults(vec![BTreeSet::from([C::NodeId::default()])], [])
}

/// An entry with this payload.
pub(crate) fn logged<C: TestTypes>(
    log_id: LogIdOf<C>,
    payload: EntryPayload<C::D, C::NodeId, C::Node>,
) -> Result<Arc<Logged<C>>, Broken> {
    Logged::of(log_id.clone(), &C::Entry::new(log_id, payload))
}
