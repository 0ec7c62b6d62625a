//! Receiving a snapshot: one at a time, a chunk at a time, checked before it is installed.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::type_config::alias::{SmSnapshotOf, SnapshotMetaOf, VoteOf};
use openraft::{Raft, RaftTypeConfig};
use proto::raft::v1::snapshot_chunk::Part;
use proto::raft::v1::{SnapshotChunk, SnapshotEnd, SnapshotResponse};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::options::NetworkOptions;
use crate::server::identity::{Addressee, CertifiedSender};
use crate::server::{admission, append};
use crate::wire;

/// Receives one snapshot after the other. Invariant: `place` has one permit, held from the admitted
/// header to the end of the installation, even if the sender has given up by then.
pub(super) struct Receiver<C: RaftTypeConfig, SM: RaftStateMachine<C>> {
    raft: Raft<C, SM>,
    addressee: Arc<Addressee<C>>,
    options: Arc<NetworkOptions>,
    place: Arc<Semaphore>,
}

impl<C, SM> Receiver<C, SM>
where
    C: RaftTypeConfig,
    SM: RaftStateMachine<C>,
    SM::SnapshotData: AsyncWrite + Unpin + Send,
{
    pub(super) fn new(raft: Raft<C, SM>, addressee: Arc<Addressee<C>>, options: Arc<NetworkOptions>) -> Self {
        Self { raft, addressee, options, place: Arc::new(Semaphore::new(1)) }
    }

    /// The whole RPC. `create` makes the place for the bytes once the header is admitted.
    pub(super) async fn receive<Fut>(
        &self,
        mut chunks: Streaming<SnapshotChunk>,
        certified: Option<&CertifiedSender<C::NodeId>>,
        create: impl FnOnce(SnapshotMetaOf<C>) -> Fut + Send,
    ) -> Result<SnapshotResponse, Status>
    where
        Fut: Future<Output = io::Result<SM::SnapshotData>> + Send,
    {
        let (vote, meta) = self.header(&mut chunks, certified).await?;
        let place = Arc::clone(&self.place)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("another snapshot is being received; try again later"))?;
        let mut data = create(meta.clone()).await.map_err(|e| storage("create a snapshot file", &e))?;
        self.copy(&mut chunks, &mut data).await?;
        data.shutdown().await.map_err(|e| storage("finish the snapshot file", &e))?;
        let vote = self.install(vote, Snapshot { meta, snapshot: data }, place).await?;
        let vote = wire::encode(&vote).map_err(|e| Status::internal(e.to_string()))?;
        Ok(SnapshotResponse { vote })
    }

    async fn header(
        &self,
        chunks: &mut Streaming<SnapshotChunk>,
        certified: Option<&CertifiedSender<C::NodeId>>,
    ) -> Result<(VoteOf<C>, SnapshotMetaOf<C>), Status> {
        let Part::Begin(begin) = self.next(chunks).await? else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        self.addressee.check(begin.header.as_ref(), certified)?;
        admission::snapshot::<C>(self.addressee.node_id(), &begin)
    }

    /// Writes the chunks to `data` and checks length and checksum against the end.
    async fn copy(
        &self,
        chunks: &mut Streaming<SnapshotChunk>,
        data: &mut SM::SnapshotData,
    ) -> Result<(), Status> {
        let mut received = SnapshotEnd::default();
        loop {
            match self.next(chunks).await? {
                Part::Data(bytes) if !bytes.is_empty() => {
                    received.total_bytes += bytes.len() as u64;
                    received.crc32c = crc32c::crc32c_append(received.crc32c, &bytes);
                    data.write_all(&bytes).await.map_err(|e| storage("write the snapshot", &e))?;
                }
                Part::End(sent) if sent == received => return Ok(()),
                Part::End(sent) => return Err(damaged(&sent, &received)),
                Part::Data(_) => return Err(Status::invalid_argument("an empty snapshot chunk")),
                Part::Begin(_) => return Err(Status::invalid_argument("a second snapshot header")),
            }
        }
    }

    async fn next(&self, chunks: &mut Streaming<SnapshotChunk>) -> Result<Part, Status> {
        let ttl = self.options.snapshot_chunk_timeout;
        let message = timeout(ttl, chunks.message()).await.map_err(|_| silent("chunk", ttl))??;
        let chunk =
            message.ok_or_else(|| Status::invalid_argument("the snapshot ended without its end message"))?;
        chunk.part.ok_or_else(|| Status::invalid_argument("a snapshot chunk without content"))
    }

    /// Installs in a task of its own: it goes on if the sender gives up, and keeps its place.
    async fn install(
        &self,
        vote: VoteOf<C>,
        snapshot: SmSnapshotOf<C, SM>,
        place: OwnedSemaphorePermit,
    ) -> Result<VoteOf<C>, Status> {
        let raft = self.raft.clone();
        let task = tokio::spawn(async move {
            let _place = place;
            consistent(&raft, &snapshot.meta).await?;
            let installed = raft.install_full_snapshot(vote, snapshot).await;
            installed.map(|response| response.vote).map_err(|fatal| append::stopped(&fatal))
        });
        let ttl = self.options.snapshot_install_timeout;
        match timeout(ttl, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Status::internal("the installation of the snapshot panicked")),
            Err(_) => Err(silent("installation", ttl)),
        }
    }
}

/// openraft panics on a snapshot that contradicts what is committed here.
async fn consistent<C, SM>(raft: &Raft<C, SM>, meta: &SnapshotMetaOf<C>) -> Result<(), Status>
where
    C: RaftTypeConfig,
    SM: RaftStateMachine<C>,
{
    let committed = raft.with_raft_state(|state| state.local_committed().cloned()).await;
    let committed = committed.map_err(|fatal| append::stopped(&fatal))?;
    if admission::contradicts::<C>(meta.last_log_id.as_ref(), committed.as_ref()) {
        return Err(Status::invalid_argument(
            "the snapshot contradicts what is committed on this node; one of the two is damaged",
        ));
    }
    Ok(())
}

fn damaged(sent: &SnapshotEnd, received: &SnapshotEnd) -> Status {
    Status::data_loss(format!(
        "the snapshot was damaged on its way: {} bytes with CRC-32C {:08x} sent, {} with {:08x} received",
        sent.total_bytes, sent.crc32c, received.total_bytes, received.crc32c,
    ))
}

fn storage(what: &str, error: &io::Error) -> Status {
    Status::internal(format!("cannot {what}: {error}"))
}

fn silent(awaited: &str, ttl: Duration) -> Status {
    Status::deadline_exceeded(format!("no snapshot {awaited} within {ttl:?}"))
}
