//! A node of a cluster: the parts of a real one between its sockets and its disk.

use std::path::Path;
use std::sync::Arc;

use openraft::async_runtime::WatchReceiver as _;
use storage_leveldb::testing::engine::LevelDbOptions;
use storage_leveldb::testing::{SimDisk, Survival};
use storage_leveldb::{Options, StateReader, Storage, StorageError};

use super::flaw::Flaw;
use super::link::Peers;
use super::network::Network;
use super::port::{Port, Requests};
use crate::application::{Checkpoint, Host, Hosted, Trail, meta_found, stored_checkpoint, stored_meta};
use crate::raft::{NodeId, Raft, TypeConfig, raft_config};

/// Where a node stores on its disk.
const DIR: &str = "disk/node";
/// So few that snapshots are built, sent and installed all the time.
const SNAPSHOT_ENTRIES: u64 = 60;
/// So little that logs are rotated and runs written all the time.
const MEMORY_BYTES: usize = 16 * 1024;

/// How nodes are made: the same way at every start.
pub(super) struct Plan {
    pub(super) network: Network,
    pub(super) host: Arc<dyn Fn() -> Arc<dyn Host> + Send + Sync>,
    pub(super) flaw: Option<Flaw>,
}

/// A running node.
pub(super) struct Member {
    id: NodeId,
    pub(super) raft: Raft,
    pub(super) requests: Requests,
    pub(super) reader: StateReader<TypeConfig, Hosted>,
    trail: Arc<Trail>,
}

impl Plan {
    /// Starts node `id` on what is on `disk`.
    pub(super) async fn start(
        &self,
        id: NodeId,
        incarnation: u64,
        disk: &SimDisk,
    ) -> Result<Member, StorageError> {
        let host = (self.host)();
        let hosted = Hosted::new(Arc::clone(&host));
        let storage = Storage::open(Path::new(DIR), hosted.clone(), options(disk)).await?;
        let Storage { log, state, reader, inbox, .. } = storage;
        let unusable = |e: &dyn std::fmt::Display| StorageError::corrupt(e.to_string());
        let meta = meta_found(reader.query(stored_meta()).await?);
        hosted.found(meta).map_err(|schema| unusable(&format_args!("the state has schema {schema}")))?;
        let mut config = raft_config("simulated", SNAPSHOT_ENTRIES).map_err(|e| unusable(&e))?;
        if self.flaw == Some(Flaw::RestoresLeaders) {
            config.enable_leader_restore = None;
        }
        let peers = Peers { network: self.network.clone(), from: id, flaw: self.flaw };
        let raft = Raft::new(id, Arc::new(config), peers, log, state).await.map_err(|e| unusable(&e))?;
        let trail = Arc::clone(hosted.trail());
        let requests = Requests::start(host, hosted, reader.clone(), &raft, self.flaw);
        let port = Port { incarnation, raft: raft.clone(), inbox, requests: requests.clone() };
        self.network.connect(id, port);
        Ok(Member { id, raft, requests, reader, trail })
    }
}

/// Like those of a real node, but small.
fn options(disk: &SimDisk) -> Options {
    let leveldb = LevelDbOptions {
        write_buffer_bytes: 4 * MEMORY_BYTES,
        table_bytes: MEMORY_BYTES,
        ..LevelDbOptions::default()
    };
    let mut options = Options::default().with_log_leveldb(leveldb).with_disk(Arc::new(disk.clone()));
    options.tail_bytes = MEMORY_BYTES;
    options.log_segment_bytes = MEMORY_BYTES as u64;
    options.memtable_bytes = MEMORY_BYTES;
    options
}

impl Member {
    /// Which node it takes for the leader.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state.is_leader() { Some(self.id) } else { metrics.current_leader }
    }

    /// The digests of what it has applied.
    pub(super) async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StorageError> {
        Ok(self.trail.with(stored_checkpoint(&self.reader).await?))
    }

    /// Cuts its power: answers what is left on its disk.
    pub(super) async fn crash(&self, network: &Network, disk: &SimDisk, survival: Survival) -> SimDisk {
        // In this order: what is heard of it was on the disk before.
        self.requests.die();
        network.disconnect(self.id);
        let left = disk.reboot(survival);
        self.stop(network).await;
        left
    }

    pub(super) async fn stop(&self, network: &Network) {
        network.disconnect(self.id);
        // A core that has stopped by itself has no more to say.
        drop(self.raft.shutdown().await);
    }
}
