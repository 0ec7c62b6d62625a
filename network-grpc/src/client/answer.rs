//! What a peer's answer means, checked before openraft sees it.
//!
//! openraft trusts its network: a conflict with the empty log, or an acknowledgement of something
//! never sent, would panic or corrupt its progress. Such answers become errors here. Each check
//! says why no correct peer can fail it, whatever was restarted, truncated or replaced by a
//! snapshot meanwhile: a peer that is refused for something that it may well say is a peer that is
//! lost.

use std::cmp::Ordering;
use std::time::Instant;

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::vote::{RaftLeaderId, RaftVote};
use proto::raft::v1::append_response::Result as Outcome;
use proto::raft::v1::{AppendRequest, AppendResponse};

use crate::connection::Connection;
use crate::error::PeerError;
use crate::wire::{self, Piece};

/// A message in flight, and what its answer will be about.
pub(crate) struct Sent<C: RaftTypeConfig> {
    prev: Option<LogIdOf<C>>,
    last: Option<LogIdOf<C>>,
    vote: VoteOf<C>,
    pub(super) bytes: usize,
    pub(super) completes: bool,
    /// When the request it belongs to was taken.
    pub(super) started: Instant,
}

/// What an answer says about the message it answers.
pub(crate) enum Answer<C: RaftTypeConfig> {
    /// All of the message is durable at the peer, up to and including this log id.
    Stored(Option<LogIdOf<C>>),
    /// It is durable up to and including this log id, which is not all of it.
    StoredPart(Option<LogIdOf<C>>),
    /// The peer's log does not contain this log id, which precedes the message.
    Conflict(LogIdOf<C>),
    /// The peer has seen this vote.
    HigherVote(VoteOf<C>),
}

impl<C: RaftTypeConfig> Sent<C> {
    pub(crate) fn of(piece: Piece<C>, vote: VoteOf<C>, started: Instant) -> (AppendRequest, Self) {
        let Piece { message, prev, last, bytes, completes } = piece;
        (message, Self { prev, last, vote, bytes, completes, started })
    }

    /// Checks the answer against the message.
    pub(crate) fn judge(
        self,
        response: AppendResponse,
        connection: &Connection,
    ) -> Result<Answer<C>, PeerError> {
        let bad = |reason: &str| connection.bad_answer(reason);
        match response.result {
            Some(Outcome::Success(success)) if success.partial_up_to.is_empty() => {
                Ok(Answer::Stored(self.last))
            }
            Some(Outcome::Success(success)) => self.partial(&success.partial_up_to, connection),
            // Every log contains what precedes its first entry, so a correct peer cannot object to
            // it.
            Some(Outcome::Conflict(_)) => {
                self.prev.map(Answer::Conflict).ok_or_else(|| bad("a conflict with the empty log"))
            }
            Some(Outcome::HigherVote(bytes)) => self.higher_vote(&bytes, connection),
            None => Err(bad("an append response without a result")),
        }
    }

    fn partial(self, bytes: &[u8], connection: &Connection) -> Result<Answer<C>, PeerError> {
        let up_to = wire::decode::<LogIdOf<C>>(bytes)
            .map_err(|e| connection.bad_answer(format!("partial success: {e}")))?;
        let up_to = Some(up_to);
        // A peer answers what it made of this very message, on the stream that the message came by.
        // What its log had before, or has lost since, is no part of the answer.
        if up_to < self.prev || up_to > self.last {
            return Err(connection.bad_answer("a partial success outside of what was sent"));
        }
        Ok(if up_to == self.last { Answer::Stored(up_to) } else { Answer::StoredPart(up_to) })
    }

    fn higher_vote(self, bytes: &[u8], connection: &Connection) -> Result<Answer<C>, PeerError> {
        let vote = wire::decode::<VoteOf<C>>(bytes)
            .map_err(|e| connection.bad_answer(format!("higher vote: {e}")))?;
        // A peer refuses an append only where its own vote is not less than or equal to ours, and a
        // restart never takes its vote back: that is durable before it is answered.
        let ours = RaftVote::partial_cmp(&self.vote, &vote);
        if matches!(ours, Some(Ordering::Greater | Ordering::Equal)) {
            return Err(connection.bad_answer("a higher vote that is not higher"));
        }
        check_vote::<C>(&vote, &self.vote, connection)?;
        Ok(Answer::HigherVote(vote))
    }
}

/// Refuses a vote for this node, the author of `ours`, that is later than `ours`: openraft would
/// believe that this node was elected, or has asked for votes, in a term that it knows nothing of,
/// and lead.
///
/// This node's vote is durable before it is sent, also over a restart, so what it sends carries the
/// latest vote that any peer can have of it. A correct peer fails this check only where this node
/// has asked again since, and has given up the request that is answered: the refusal has no effect
/// then. An *earlier* vote is no such claim: a leader that was restarted hears from its followers
/// that it was the last that they followed. Nor is its own vote of the same term, as a leader: the
/// others had elected it by then.
pub(super) fn check_vote<C: RaftTypeConfig>(
    theirs: &VoteOf<C>,
    ours: &VoteOf<C>,
    connection: &Connection,
) -> Result<(), PeerError> {
    if !wire::is_possible::<C>(theirs) {
        return Err(connection.bad_answer(format!("{theirs} is of a term that no cluster gets to")));
    }
    let (theirs_for, ours_for) = (theirs.leader_id(), ours.leader_id());
    let is_earlier = matches!(RaftVote::partial_cmp(theirs, ours), Some(Ordering::Less));
    if theirs_for.node_id() == ours_for.node_id() && theirs_for != ours_for && !is_earlier {
        let reason = format!("{theirs} is a vote of this node that is later than the {ours} it sent");
        return Err(connection.bad_answer(reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use openraft::Vote;

    use super::*;
    use crate::connection::{Lane, Place};
    use crate::options::NetworkOptions;

    openraft::declare_raft_types!(Types: D = String, R = String, NodeId = u64, Node = openraft::BasicNode);

    fn is_refused(theirs: VoteOf<Types>, ours: VoteOf<Types>) -> bool {
        let place = Place { address: "peer:1".to_owned(), alternative: None, incarnation: None };
        let connection = Connection::new(place, Lane::Replication, None, Arc::<NetworkOptions>::default());
        check_vote::<Types>(&theirs, &ours, &connection).is_err()
    }

    /// Found by a restarted leader that alone had the newest log, and was never elected again.
    #[test]
    fn a_restarted_leader_may_hear_of_its_own_earlier_vote() {
        let asked = Vote::new(6, 1);
        assert!(!is_refused(Vote::new_committed(5, 1), asked));
        assert!(!is_refused(Vote::new(5, 1), asked));
        // It was asked before the others had elected the one who asks, and answers after that.
        assert!(!is_refused(Vote::new_committed(6, 1), asked));
        assert!(!is_refused(asked, asked));
    }

    #[test]
    fn other_nodes_may_have_any_vote() {
        for theirs in [Vote::new(9, 2), Vote::new_committed(9, 2), Vote::new_committed(1, 2)] {
            assert!(!is_refused(theirs, Vote::new(6, 1)));
        }
    }

    /// Found by a reviewer: the next term after the last one is 0, and openraft stops for good when
    /// it gets there.
    #[test]
    fn a_term_at_the_end_of_all_terms_is_not_believed() {
        for theirs in [Vote::new(u64::MAX, 2), Vote::new_committed(1 << 63, 2)] {
            assert!(is_refused(theirs, Vote::new(6, 1)));
        }
        assert!(!is_refused(Vote::new((1 << 63) - 1, 2), Vote::new(6, 1)));
    }

    #[test]
    fn a_later_vote_of_its_own_is_not_believed() {
        for theirs in [Vote::new(7, 1), Vote::new_committed(7, 1)] {
            assert!(is_refused(theirs, Vote::new(6, 1)));
            assert!(is_refused(theirs, Vote::new_committed(6, 1)));
        }
    }
}
