//! Sending a snapshot: read, checksum and send in bounded chunks, then wait for the installation.

use std::time::Instant;

use bytes::BytesMut;
use openraft::errors::{ErrorSource, StreamingError};
use openraft::raft::SnapshotResponse;
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf, VoteOf};
use openraft::{RaftTypeConfig, StorageError};
use proto::raft::v1 as pb;
use proto::raft::v1::snapshot_chunk::Part;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::client::Peer;
use crate::client::answer::check_vote;
use crate::client::body::Body;
use crate::connection::Live;
use crate::error::PeerError;
use crate::observer::Rpc;
use crate::options::{SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNKS_QUEUED};
use crate::wire;

/// The snapshot could not be read here, or not be sent there.
enum SendError {
    Read(std::io::Error),
    Peer(PeerError),
}

impl From<PeerError> for SendError {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

/// Sends all of `snapshot`; returns when the peer has installed it. Dropping the future cancels.
pub(super) async fn send<C, SD>(
    peer: &Peer,
    vote: VoteOf<C>,
    snapshot: SnapshotOf<C, SD>,
) -> Result<SnapshotResponse<C>, StreamingError<C>>
where
    C: RaftTypeConfig,
    SD: AsyncRead + Unpin + Send + 'static,
{
    let started = Instant::now();
    let failed = match transfer::<C, SD>(peer, &vote, &snapshot.meta, snapshot.snapshot).await {
        Ok(theirs) => {
            peer.finished(Rpc::Snapshot, started, None);
            return Ok(SnapshotResponse::new(theirs));
        }
        Err(error) => error,
    };
    match failed {
        SendError::Peer(error) => {
            peer.finished(Rpc::Snapshot, started, Some(&error));
            Err(error.into_streaming())
        }
        SendError::Read(error) => {
            let source = C::ErrorSource::from_error(&error);
            Err(StreamingError::StorageError(StorageError::read_snapshot(None, source)))
        }
    }
}

async fn transfer<C, SD>(
    peer: &Peer,
    vote: &VoteOf<C>,
    meta: &SnapshotMetaOf<C>,
    data: SD,
) -> Result<VoteOf<C>, SendError>
where
    C: RaftTypeConfig,
    SD: AsyncRead + Unpin + Send + 'static,
{
    let begin = pb::SnapshotHeader {
        header: Some(peer.header()?),
        vote: wire::encode(vote).map_err(PeerError::from)?,
        meta: wire::encode(meta).map_err(PeerError::from)?,
    };
    let live = peer.connection.live().await?;
    let (chunks, queue) = mpsc::channel(SNAPSHOT_CHUNKS_QUEUED);
    let (body, _cancel) = Body::new(queue, None);
    let mut client = live.client.clone();
    let answer = client.install_snapshot(body);
    tokio::pin!(answer);

    // The peer may answer before the end, if it refuses.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        fed = feed(peer, begin, data, chunks) => {
            fed?;
            let ttl = peer.options.snapshot_install_timeout;
            match timeout(ttl, answer).await {
                Ok(answer) => answer,
                Err(_) => return Err(silent(peer, &live, "snapshot installation", ttl).into()),
            }
        }
    };
    let answer = answer.map_err(|status| peer.failed(&live, status))?.into_inner();
    let theirs = wire::decode::<VoteOf<C>>(&answer.vote)
        .map_err(|e| peer.connection.bad_answer(format!("snapshot response: {e}")))?;
    check_vote::<C>(&theirs, vote, &peer.connection)?;
    Ok(theirs)
}

/// Queues the header, every chunk and the end. Each must be taken within the chunk deadline.
async fn feed<SD: AsyncRead + Unpin>(
    peer: &Peer,
    begin: pb::SnapshotHeader,
    mut data: SD,
    chunks: mpsc::Sender<pb::SnapshotChunk>,
) -> Result<(), SendError> {
    queue(peer, &chunks, Part::Begin(begin)).await?;
    let (mut total_bytes, mut crc) = (0, 0);
    loop {
        let mut chunk = BytesMut::with_capacity(SNAPSHOT_CHUNK_BYTES);
        read_chunk(peer, &mut data, &mut chunk).await?;
        if chunk.is_empty() {
            break;
        }
        let bytes = chunk.len() as u64;
        total_bytes += bytes;
        crc = crc32c::crc32c_append(crc, &chunk);
        queue(peer, &chunks, Part::Data(chunk.freeze())).await?;
        peer.options.observer.snapshot_sent(&peer.label, bytes);
    }
    queue(peer, &chunks, Part::End(pb::SnapshotEnd { total_bytes, crc32c: crc })).await
}

/// Fills `chunk`, which stays short only at the end of the data.
async fn read_chunk<SD: AsyncRead + Unpin>(
    peer: &Peer,
    data: &mut SD,
    chunk: &mut BytesMut,
) -> Result<(), SendError> {
    let ttl = peer.options.snapshot_chunk_timeout;
    let fill = async {
        let mut limited = data.take(SNAPSHOT_CHUNK_BYTES as u64);
        while chunk.len() < SNAPSHOT_CHUNK_BYTES && limited.read_buf(chunk).await? > 0 {}
        Ok(())
    };
    match timeout(ttl, fill).await {
        Ok(filled) => filled.map_err(SendError::Read),
        Err(_) => Err(peer.connection.timed_out("chunk of the own snapshot", ttl).into()),
    }
}

async fn queue(peer: &Peer, chunks: &mpsc::Sender<pb::SnapshotChunk>, part: Part) -> Result<(), SendError> {
    let ttl = peer.options.snapshot_chunk_timeout;
    match timeout(ttl, chunks.send(pb::SnapshotChunk { part: Some(part) })).await {
        Ok(Ok(())) => Ok(()),
        // The transport has dropped the body. The answer, which the caller selects on, says why.
        Ok(Err(_)) => {
            tokio::time::sleep(ttl).await;
            Err(peer.connection.timed_out("reason for a broken snapshot stream", ttl).into())
        }
        Err(_) => Err(peer.connection.timed_out("progress of a snapshot", ttl).into()),
    }
}

fn silent(peer: &Peer, live: &Live, awaited: &'static str, ttl: std::time::Duration) -> PeerError {
    peer.connection.discard(live);
    peer.connection.timed_out(awaited, ttl)
}
