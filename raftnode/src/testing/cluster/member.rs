//! A node of a cluster: the parts of a real one between its sockets and its disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;
use storage_leveldb::testing::{SimDisk, Survival};
use storage_leveldb::{LevelDbOptions, Options, StateReader, Storage, StorageError};
use tonic::Status;

use super::history::{FoundAt, found_at};
use super::link::Peers;
use super::network::Network;
use super::port::Port;
use crate::api::status_codes::{self, Failure};
use crate::api::{Proposals, ReadIndex};
use crate::application::{Command, Host, Hosted, Outcome, View, meta_found, stored_meta};
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
    /// openraft's default, which is not safe: a leader that restarts leads on.
    pub(super) restores_leaders: bool,
}

/// A running node.
pub(super) struct Member {
    id: NodeId,
    pub(super) raft: Raft,
    pub(super) requests: Requests,
    pub(super) reader: StateReader<TypeConfig, Hosted>,
}

/// What a node does for others, and for its own clients. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requests {
    host: Arc<dyn Host>,
    reader: StateReader<TypeConfig, Hosted>,
    proposals: Proposals,
    read_index: ReadIndex,
    /// Its power has failed: what it still answers must not be heard.
    is_dead: Arc<AtomicBool>,
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
        if self.restores_leaders {
            config.enable_leader_restore = None;
        }
        let peers = Peers { network: self.network.clone(), from: id };
        let raft = Raft::new(id, Arc::new(config), peers, log, state).await.map_err(|e| unusable(&e))?;
        let requests = Requests {
            host,
            reader: reader.clone(),
            proposals: Proposals::start(raft.clone(), hosted),
            read_index: ReadIndex::start(raft.clone()),
            is_dead: Arc::default(),
        };
        let port = Port { incarnation, raft: raft.clone(), inbox, requests: requests.clone() };
        self.network.connect(id, port);
        Ok(Member { id, raft, requests, reader })
    }
}

/// Like those of a real node, but small.
fn options(disk: &SimDisk) -> Options {
    let leveldb = LevelDbOptions {
        write_buffer_bytes: 4 * MEMORY_BYTES,
        table_bytes: MEMORY_BYTES,
        ..LevelDbOptions::default()
    };
    Options {
        tail_bytes: MEMORY_BYTES,
        log_segment_bytes: MEMORY_BYTES as u64,
        memtable_bytes: MEMORY_BYTES,
        log_leveldb: leveldb,
        state_leveldb: leveldb,
        disk: Arc::new(disk.clone()),
        ..Options::default()
    }
}

impl Member {
    /// Which node it takes for the leader.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state.is_leader() { Some(self.id) } else { metrics.current_leader }
    }

    /// Cuts its power: answers what is left on its disk.
    pub(super) async fn crash(&self, network: &Network, disk: &SimDisk, survival: Survival) -> SimDisk {
        // In this order: what is heard of it was on the disk before.
        self.requests.is_dead.store(true, Ordering::SeqCst);
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

impl Requests {
    /// Puts a command into the log and waits until it is applied.
    pub(super) async fn write(self, command: Command) -> Result<Outcome, Failure> {
        let applied = self.proposals.propose(command).await;
        self.alive()?;
        Ok(applied?.outcome)
    }

    /// Whether a majority confirms that it leads.
    pub(super) async fn confirmed(self) -> bool {
        self.read_index.confirm().await.is_ok()
    }

    /// Answers with everything in it that was acknowledged before.
    pub(super) async fn read(self, query: Bytes) -> Result<FoundAt, Failure> {
        let confirmed = self.read_index.confirm().await;
        self.alive()?;
        confirmed?;
        self.read_stale(query).await
    }

    /// Answers from what is applied here.
    pub(super) async fn read_stale(self, query: Bytes) -> Result<FoundAt, Failure> {
        let host = Arc::clone(&self.host);
        let found = self.reader.query(Box::new(move |view| {
            let position = View::new(view).position()?;
            let answer = host.query(view, &query).map_err(|e| e.to_string());
            let found: FoundAt = (position, answer);
            Ok(Box::new(found))
        }));
        self.alive()?;
        found.await.map(found_at).map_err(|e| Failure::Final(Status::failed_precondition(e.to_string())))
    }

    /// What a node says whose power has failed is not heard.
    pub(super) fn alive(&self) -> Result<(), Failure> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(Failure::Lost(status_codes::stopped_unknown()));
        }
        Ok(())
    }
}
