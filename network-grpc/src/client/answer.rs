//! What a peer's answer means, checked before openraft sees it.
//!
//! openraft trusts its network: a conflict with the empty log, or an acknowledgement of something
//! never sent, would panic or corrupt its progress. Such answers become errors here.

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
        if up_to < self.prev || up_to > self.last {
            return Err(connection.bad_answer("a partial success outside of what was sent"));
        }
        Ok(if up_to == self.last { Answer::Stored(up_to) } else { Answer::StoredPart(up_to) })
    }

    fn higher_vote(self, bytes: &[u8], connection: &Connection) -> Result<Answer<C>, PeerError> {
        let vote = wire::decode::<VoteOf<C>>(bytes)
            .map_err(|e| connection.bad_answer(format!("higher vote: {e}")))?;
        let ours = RaftVote::partial_cmp(&self.vote, &vote);
        if matches!(ours, Some(Ordering::Greater | Ordering::Equal)) {
            return Err(connection.bad_answer("a higher vote that is not higher"));
        }
        check_vote::<C>(&vote, &self.vote, connection)?;
        Ok(Answer::HigherVote(vote))
    }
}

/// Refuses a vote by which a peer claims that this node, the author of `ours`, was elected for a
/// later term: openraft would believe it and lead. An earlier term is no such claim: a leader that
/// was restarted hears from its followers that it was the last that they followed.
pub(super) fn check_vote<C: RaftTypeConfig>(
    theirs: &VoteOf<C>,
    ours: &VoteOf<C>,
    connection: &Connection,
) -> Result<(), PeerError> {
    let same_node = theirs.leader_id().node_id() == ours.leader_id().node_id();
    let later = !matches!(RaftVote::partial_cmp(theirs, ours), Some(Ordering::Less));
    if theirs.is_committed() && same_node && later && theirs.leader_id() != ours.leader_id() {
        return Err(connection.bad_answer(format!("a vote {theirs} that this node never won")));
    }
    Ok(())
}
