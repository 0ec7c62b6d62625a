//! Values to `raft.v1` bytes fields and back. The only file that calls `codec`.

use bytes::Bytes;
use codec::{DecodeError, EncodeError};
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::vote::{RaftLeaderId, RaftTerm, RaftVote};
use openraft::{LogId, RaftTypeConfig};
use proto::raft::v1::AppendRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::PeerError;
use crate::options::{MAX_BATCH_BYTES, MAX_ENTRY_BYTES};

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, EncodeError> {
    codec::encode(value).map(Bytes::from)
}

/// No bytes stand for `None`.
pub(crate) fn encode_option<T: Serialize>(value: Option<&T>) -> Result<Bytes, EncodeError> {
    value.map_or(Ok(Bytes::new()), encode)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    codec::decode(bytes)
}

pub(crate) fn decode_option<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { codec::decode(bytes).map(Some) }
}

/// The entry's log id, for entry types of which openraft's own `log_id()` cannot be named.
pub(crate) fn log_id_of<C: RaftTypeConfig>(entry: &C::Entry) -> LogIdOf<C> {
    let (leader, index) = entry.log_id_parts();
    LogId::new(leader.clone(), index)
}

/// One append message that is valid on its own, and what its answer will be about.
pub(crate) struct Piece<C: RaftTypeConfig> {
    pub(crate) message: AppendRequest,
    pub(crate) prev: Option<LogIdOf<C>>,
    /// The last log id of the message; `prev` where it has no entries.
    pub(crate) last: Option<LogIdOf<C>>,
    /// Encoded entries.
    pub(crate) bytes: usize,
    /// Whether its success answers the whole request.
    pub(crate) completes: bool,
}

/// Cuts one openraft request into messages of at most [`MAX_BATCH_BYTES`], encoding as it goes.
///
/// Invariants: pieces are consecutive (`prev` of the next is `last` of the one before), every piece
/// but that of an empty request has at least one entry, and exactly the final one `completes`. An
/// entry that cannot be sent ends the request before it, so that what precedes it is acknowledged,
/// and is the error of the call after.
pub(crate) struct Pieces<C: RaftTypeConfig> {
    vote: Bytes,
    leader_commit: Bytes,
    prev: Option<LogIdOf<C>>,
    entries: std::vec::IntoIter<C::Entry>,
    /// Encoded, but did not fit into the piece before.
    carry: Option<(LogIdOf<C>, Bytes)>,
    /// Why the entry after the last piece cannot be sent.
    failure: Option<PeerError>,
    done: bool,
}

impl<C: RaftTypeConfig> Pieces<C> {
    pub(crate) fn of(request: AppendEntriesRequest<C>) -> Result<Self, PeerError> {
        Ok(Self {
            vote: encode(&request.vote)?,
            leader_commit: encode_option(request.leader_commit.as_ref())?,
            prev: request.prev_log_id,
            entries: request.entries.into_iter(),
            carry: None,
            failure: None,
            done: false,
        })
    }

    /// The next piece, `None` after the one that completes the request. Not called after an error.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Piece<C>>, PeerError> {
        if self.done {
            return self.failure.take().map_or(Ok(None), Err);
        }
        let prev = self.prev.clone();
        let (entries, bytes) = self.next_batch()?;
        let message = AppendRequest {
            header: None,
            vote: self.vote.clone(),
            prev_log_id: encode_option(prev.as_ref())?,
            leader_commit: self.leader_commit.clone(),
            entries,
        };
        Ok(Some(Piece { message, prev, last: self.prev.clone(), bytes, completes: self.done }))
    }

    /// Takes entries up to the limit and moves `prev` behind them.
    fn next_batch(&mut self) -> Result<(Vec<Bytes>, usize), PeerError> {
        let mut batch = Vec::with_capacity(self.entries.len() + 1);
        let mut bytes = 0;
        loop {
            let (log_id, entry) = match self.next_entry() {
                Ok(Some(next)) => next,
                Err(error) if batch.is_empty() => return Err(error),
                ended => {
                    self.failure = ended.err();
                    self.done = true;
                    return Ok((batch, bytes));
                }
            };
            if !batch.is_empty() && bytes + entry.len() > MAX_BATCH_BYTES {
                self.carry = Some((log_id, entry));
                return Ok((batch, bytes));
            }
            bytes += entry.len();
            self.prev = Some(log_id);
            batch.push(entry);
        }
    }

    fn next_entry(&mut self) -> Result<Option<(LogIdOf<C>, Bytes)>, PeerError> {
        if let Some(carried) = self.carry.take() {
            return Ok(Some(carried));
        }
        let Some(entry) = self.entries.next() else { return Ok(None) };
        let log_id = log_id_of::<C>(&entry);
        let bytes = encode(&entry).map_err(|e| match e {
            EncodeError::TooLong { len, .. } => {
                PeerError::EntryTooLarge { index: log_id.index, bytes: len, limit: MAX_ENTRY_BYTES }
            }
            EncodeError::Failed { .. } => e.into(),
        })?;
        Ok(Some((log_id, bytes)))
    }
}

/// No cluster gets to such a term: with an election each millisecond it would take 292 million
/// years. A node that believed in one would count the next up to an overflow, and stop for good.
const MAX_TERM: u64 = 1 << 63;

/// Whether a vote is of a term that there can be.
pub(crate) fn is_possible<C: RaftTypeConfig>(vote: &VoteOf<C>) -> bool {
    vote.leader_id().term().as_u64().is_none_or(|term| term < MAX_TERM)
}
