//! A backup of this node's state, with everything in it that was acknowledged before it was asked
//! for: the parts of a file, made as they are taken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::LogIdOptionExt as _;
use proto::backup::{BackupError, BackupWriter};
use proto::node::v1 as pb;
use storage_leveldb::raft::StateSnapshot;
use storage_leveldb::{SnapshotFile, StorageError};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::admission::Place;
use super::call::Call;
use super::forward::{Effect, Hop};
use super::route::{self, LEADER_WAIT};
use super::server::Api;
use super::status_codes;
use super::status_report::members_of;
use crate::application::{Ask, Facts, facts, facts_found};
use crate::raft::{Metrics, TypeConfig};

/// A backup is sent in blocks of this size.
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks that wait for the client; when there are more, none is made.
const QUEUE_BLOCKS: usize = 4;
/// A client that takes nothing for so long is given up: its backup keeps tables on the disk.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// What is sent to a client.
pub(super) type Parts = ReceiverStream<Result<pb::SaveResponse, Status>>;
type Snapshot = StateSnapshot<TypeConfig, Box<dyn std::any::Any + Send>>;

impl Api {
    /// A log index that covers every write that was acknowledged before the call.
    pub(super) fn covering_index<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<u64, Status>> {
        Box::pin(async move {
            let here = async || {
                let confirmed = async {
                    self.confirm_read().await?;
                    // Not openraft's metrics: they follow what is applied.
                    Ok(self.applied_index().await?)
                };
                route::within(call, Effect::Read, confirmed).await
            };
            let there = async |hop: Hop| {
                let answer = hop.requests().read_index(hop.request(pb::ReadIndexRequest {})).await?;
                Ok(answer.into_inner().index)
            };
            self.on_leader(call, LEADER_WAIT, Effect::Read, here, there).await
        })
    }

    async fn applied_index(&self) -> Result<u64, Status> {
        let ask: Ask = Box::new(|view| Ok(Box::new(view.applied_index())));
        let found = self.local.reader.query(ask).await.map_err(|e| self.unanswered(&e))?;
        let index = found.downcast::<u64>();
        index.map(|index| *index).map_err(|_| Status::internal("an answer of another type"))
    }

    /// Begins a backup; the rest is made by a task of its own.
    pub(super) fn save_backup<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Parts, Status>> {
        Box::pin(async move {
            status_codes::check_affiliation(&self.local)?;
            let place = self.admission.backup()?;
            let index = self.covering_index(call).await?;
            self.wait_until_applied(call, index).await?;
            let snapshot = self.local.reader.snapshot(facts(self.host())).await;
            let snapshot = snapshot.map_err(|e| self.unanswered(&e))?;
            debug_assert!(
                snapshot.meta.last_log_id.index() >= Some(index),
                "it covers what was acknowledged"
            );
            let header = self.backup_header(&snapshot)?;
            let (writer, part) = BackupWriter::begin(&header).map_err(|e| unwritable(&e))?;
            let first = pb::SaveResponse {
                header: super::header::header(&self.local),
                expected_bytes: snapshot.expected_bytes,
                part,
                sent_bytes: 0,
            };
            tracing::info!(
                event.action = "backup",
                log_index = header.log_index,
                "sending a backup of about {} bytes",
                first.expected_bytes
            );
            let (parts, receiver) = mpsc::channel(QUEUE_BLOCKS);
            let sending = Sending { writer, stream: snapshot.stream, parts, _place: place };
            let local = std::sync::Arc::clone(&self.local);
            tokio::spawn(async move {
                tokio::select! {
                    () = sending.run(first) => {}
                    // The client sees a backup without its end.
                    () = local.stopping() => {}
                }
            });
            Ok(ReceiverStream::new(receiver))
        })
    }

    async fn wait_until_applied(&self, call: &Call, index: u64) -> Result<(), Status> {
        let applied = |metrics: &Metrics| metrics.last_applied.index() >= Some(index);
        let wait = self.local.raft.wait(Some(call.remaining()));
        match wait.metrics(applied, "a backup's index").await {
            Ok(_) => Ok(()),
            Err(_) => {
                status_codes::check_standing(&self.local)?;
                Err(Status::deadline_exceeded(format!(
                    "this node has not applied entry {index} yet, which a backup must have; ask another node"
                )))
            }
        }
    }

    fn backup_header(&self, snapshot: &Snapshot) -> Result<pb::BackupHeader, Status> {
        let Facts { meta, revision } = facts_found(&*snapshot.answer);
        let Some(last) = snapshot.meta.last_log_id else {
            return Err(Status::failed_precondition("the cluster is not initialised; nothing is stored"));
        };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(pb::BackupHeader {
            cluster_id: self.local.cluster_id(),
            node_id: self.local.id,
            cluster_name: self.local.cluster_name.clone(),
            application: self.local.program.name.to_owned(),
            schema: meta.schema,
            log_term: last.leader_id.term,
            log_leader: last.leader_id.node_id,
            log_index: last.index,
            members: members_of(snapshot.meta.last_membership.membership()),
            position: meta.position,
            revision,
            created_unix_ms: u64::try_from(created.as_millis()).unwrap_or_default(),
            version: self.local.program.version.to_owned(),
        })
    }
}

/// A backup on its way to a client. Without its last part it is none, so it may end anywhere.
struct Sending {
    writer: BackupWriter,
    stream: SnapshotFile,
    parts: mpsc::Sender<Result<pb::SaveResponse, Status>>,
    _place: Place,
}

impl Sending {
    async fn run(mut self, first: pb::SaveResponse) {
        if !send(&self.parts, Ok(first)).await {
            return;
        }
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let part = match fill(&mut self.stream, &mut block).await {
                Ok([]) => break,
                Ok(bytes) => self.writer.block(bytes).map_err(|e| unwritable(&e)),
                Err(e) => {
                    Err(Status::data_loss(format!("this node cannot read its state: {e}; ask another node")))
                }
            };
            let is_last = part.is_err();
            let part = part.map(|part| part_of(part, self.writer.length()));
            if !send(&self.parts, part).await || is_last {
                return;
            }
        }
        let length = self.writer.length();
        send(&self.parts, Ok(part_of(self.writer.end(), length))).await;
    }
}

fn part_of(part: Bytes, sent_bytes: u64) -> pb::SaveResponse {
    pb::SaveResponse { part, sent_bytes, ..pb::SaveResponse::default() }
}

/// Whether the client goes on taking.
async fn send(
    parts: &mpsc::Sender<Result<pb::SaveResponse, Status>>,
    part: Result<pb::SaveResponse, Status>,
) -> bool {
    parts.send_timeout(part, MAX_SILENCE).await.is_ok()
}

/// A full block, or what is left of the stream.
async fn fill<'b>(stream: &mut SnapshotFile, block: &'b mut [u8]) -> Result<&'b [u8], StorageError> {
    let mut filled = 0;
    while let Some(room) = block.get_mut(filled..).filter(|room| !room.is_empty()) {
        let n = stream.read(room).await.map_err(|e| match e.downcast::<StorageError>() {
            Ok(e) => e,
            Err(e) => StorageError::corrupt(e.to_string()),
        })?;
        if n == 0 {
            break;
        }
        filled += n;
    }
    Ok(block.get(..filled).unwrap_or_default())
}

fn unwritable(e: &BackupError) -> Status {
    Status::internal(format!("a part of a backup cannot be made: {e}"))
}
