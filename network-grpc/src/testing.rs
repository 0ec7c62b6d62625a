//! The checks between a peer's messages and openraft without a connection, for the fuzz targets in
//! `tests/fuzz/`.

use std::sync::Arc;
use std::time::Instant;

use openraft::RaftTypeConfig;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest};
use openraft::type_config::alias::{SnapshotMetaOf, VoteOf};
use proto::raft::v1 as pb;
use tonic::Status;

use crate::client::{Answer, Sent};
use crate::connection::{Connection, Lane, Place};
use crate::error::PeerError;
use crate::options::NetworkOptions;
use crate::server::admission;
use crate::wire::Pieces;

/// What node `own` makes of an append message.
///
/// # Errors
/// The refusal.
pub fn admit_append<C: RaftTypeConfig>(
    own: &C::NodeId,
    message: &pb::AppendRequest,
) -> Result<AppendEntriesRequest<C>, Status> {
    admission::append(own, message)
}

/// What node `own` makes of the body of a request for a vote.
///
/// # Errors
/// The refusal.
pub fn admit_vote<C: RaftTypeConfig>(own: &C::NodeId, body: &[u8]) -> Result<VoteRequest<C>, Status> {
    admission::vote(own, body)
}

/// What node `own` makes of the body of a request to take over.
///
/// # Errors
/// The refusal.
pub fn admit_transfer<C: RaftTypeConfig>(
    own: &C::NodeId,
    body: &[u8],
) -> Result<TransferLeaderRequest<C>, Status> {
    admission::transfer(own, body)
}

/// What node `own` makes of a snapshot's header.
///
/// # Errors
/// The refusal.
pub fn admit_snapshot<C: RaftTypeConfig>(
    own: &C::NodeId,
    header: &pb::SnapshotHeader,
) -> Result<(VoteOf<C>, SnapshotMetaOf<C>), Status> {
    admission::snapshot::<C>(own, header)
}

/// The messages that carry a request.
///
/// # Errors
/// An entry is too large.
pub fn messages_of<C: RaftTypeConfig>(
    request: AppendEntriesRequest<C>,
) -> Result<Vec<pb::AppendRequest>, PeerError> {
    let mut pieces = Pieces::of(request)?;
    let mut messages = Vec::new();
    while let Some(piece) = pieces.next_piece()? {
        messages.push(piece.message);
    }
    Ok(messages)
}

/// What openraft is told when `response` answers the first message of `request`.
///
/// # Errors
/// No correct peer gives this answer.
pub fn judge<C: RaftTypeConfig>(
    request: AppendEntriesRequest<C>,
    response: pb::AppendResponse,
) -> Result<AppendEntriesResponse<C>, PeerError> {
    let connection = Connection::new(
        Place { address: "peer:1".to_owned(), alternative: None, incarnation: None },
        Lane::Replication,
        None,
        Arc::new(NetworkOptions::default()),
    );
    let vote = request.vote.clone();
    let piece = Pieces::of(request)?.next_piece()?.ok_or_else(|| connection.bad_answer("nothing to send"))?;
    let (_, sent) = Sent::of(piece, vote, Instant::now());
    Ok(match sent.judge(response, &connection)? {
        Answer::Stored(log_id) | Answer::StoredPart(log_id) => AppendEntriesResponse::PartialSuccess(log_id),
        Answer::Conflict(_) => AppendEntriesResponse::Conflict,
        Answer::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote),
    })
}
