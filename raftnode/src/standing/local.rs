//! What every surface of this node (clients, HTTP, shutdown) shares.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use network_grpc::LocalIdentity;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use storage_leveldb::{Fault, Health, Sizes, StateReader, StorageError};
use tokio::sync::watch;

use super::affiliation::Hearsay;
use super::{DiskBytes, DiskSpace, LeaderWatch};
use crate::application::{Checkpoint, Hosted, InForce, Trail, stored_checkpoint};
use crate::config::{JoinOptions, NodeConfig, Peers, Program};
use crate::peer::Enrollment;
use crate::raft::{LEADER_LEASE, Member, Metrics, NodeId, Raft, TypeConfig};
use crate::tls::Dialler;

/// This node's identity and the handles on its parts.
pub(crate) struct Local {
    /// What it runs.
    pub program: Program,
    /// This node.
    pub id: NodeId,
    /// The label of its cluster.
    pub cluster_name: String,
    /// How the others know this node.
    pub own: Member,
    /// The nodes that may found a cluster with this one; none if it waits to be added to one.
    pub peers: Option<Peers>,
    /// The cluster that it was told to join.
    pub join: JoinOptions,
    /// Which schema of the application is in force.
    pub in_force: Arc<InForce>,
    /// The digests of what this node has applied.
    trail: Arc<Trail>,
    /// How it belongs to a cluster.
    pub enrollment: Arc<Enrollment>,
    /// One change of the membership at a time; held by whatever makes one.
    pub membership_change: tokio::sync::Mutex<()>,
    pub(crate) hearsay: Hearsay,
    /// Where HTTP is reached.
    pub http_addr: String,
    /// Everything it stores.
    pub data_dir: PathBuf,
    /// Consensus.
    pub raft: Raft,
    /// Queries on the applied state.
    pub reader: StateReader<TypeConfig, Hosted>,
    /// The first storage fault.
    pub health: Health,
    /// Bytes on disk.
    pub sizes: Sizes,
    /// How long ago a leader was last known to be alive.
    pub leader_watch: LeaderWatch,
    /// The way to other nodes.
    pub dialler: Dialler,
    /// Whether the disk does not answer.
    disk_hangs: watch::Sender<bool>,
    /// Nodes that have applied something else, while it is not known which of them is wrong.
    differing: Mutex<Option<String>>,
    stopping: watch::Sender<bool>,
}

/// Who leads, as far as this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leader {
    /// This node.
    Here,
    /// Another node.
    There(NodeId, Member),
    /// No node, or one whose address is not known.
    Nobody,
}

/// Whether this node's consensus and storage work.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// They do.
    Good,
    /// Storage failed; nothing is answered from it any more.
    Faulty(Fault),
    /// Consensus stopped for another reason.
    Stopped(String),
}

/// The handles a [`Local`] is made of, beside the configuration.
pub(crate) struct Handles {
    pub(crate) raft: Raft,
    pub(crate) reader: StateReader<TypeConfig, Hosted>,
    pub(crate) health: Health,
    pub(crate) sizes: Sizes,
    pub(crate) leader_watch: LeaderWatch,
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) in_force: Arc<InForce>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) peers: Option<Peers>,
    pub(crate) dialler: Dialler,
}

impl Local {
    pub(crate) fn new(program: Program, config: &NodeConfig, http_addr: String, handles: Handles) -> Self {
        Self {
            program,
            id: config.id,
            cluster_name: config.cluster_name.clone(),
            own: config.own_member(),
            // What is to join a cluster founds none, whatever an earlier start was given.
            peers: handles.peers.filter(|_| !config.join.is_asked()),
            join: config.join.clone(),
            in_force: handles.in_force,
            trail: handles.trail,
            enrollment: handles.enrollment,
            membership_change: tokio::sync::Mutex::default(),
            hearsay: Hearsay::default(),
            http_addr,
            data_dir: config.data_dir.clone(),
            raft: handles.raft,
            reader: handles.reader,
            health: handles.health,
            sizes: handles.sizes,
            leader_watch: handles.leader_watch,
            dialler: handles.dialler,
            disk_hangs: watch::Sender::new(false),
            differing: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Who this node is.
    #[must_use]
    pub(crate) fn identity(&self) -> &LocalIdentity<NodeId> {
        self.enrollment.identity()
    }

    /// The id of its cluster in 32 hexadecimal digits; empty if it belongs to none.
    #[must_use]
    pub(crate) fn cluster_id(&self) -> String {
        self.identity().member().map(|member| member.cluster_id.to_string()).unwrap_or_default()
    }

    /// Everything openraft says about itself now.
    #[must_use]
    pub(crate) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Reads openraft's metrics without copying them; `read` must be quick.
    pub(crate) fn with_metrics<T>(&self, read: impl FnOnce(&Metrics) -> T) -> T {
        read(&self.raft.metrics().borrow_watched())
    }

    /// Who leads.
    #[must_use]
    pub(crate) fn leader(&self) -> Leader {
        self.with_metrics(|metrics| {
            if metrics.state.is_leader() {
                return Leader::Here;
            }
            let other = metrics.current_leader.filter(|id| *id != self.id);
            match other.and_then(|id| Some((id, metrics.membership_config.get_node(&id)?.clone()))) {
                Some((id, member)) => Leader::There(id, member),
                None => Leader::Nobody,
            }
        })
    }

    /// Whether this node leads.
    #[must_use]
    pub(crate) fn leads(&self) -> bool {
        self.with_metrics(|metrics| metrics.state.is_leader())
    }

    /// The digests of what this node has applied, in ascending order.
    pub(crate) async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StorageError> {
        Ok(self.trail.with(stored_checkpoint(&self.reader).await?))
    }

    /// Nodes that have applied something else, while it is not known which of them is wrong.
    #[must_use]
    pub(crate) fn differing(&self) -> Option<String> {
        self.differing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_differing(&self, differing: Option<String>) {
        *self.differing.lock().unwrap_or_else(PoisonError::into_inner) = differing;
    }

    /// Whether this node has ever been part of a cluster.
    #[must_use]
    pub(crate) fn is_initialized(&self) -> bool {
        self.with_metrics(|metrics| metrics.last_log_index.is_some() || metrics.snapshot.is_some())
    }

    /// Whether this node leads but no quorum has acknowledged that for a whole lease. A leader that
    /// has only just been elected, and not been acknowledged at all, has not lost anything.
    #[must_use]
    pub(crate) fn has_lost_quorum(&self) -> bool {
        self.with_metrics(|metrics| {
            metrics.state.is_leader()
                && metrics.membership_config.voter_ids().nth(1).is_some()
                && metrics.last_quorum_acked.is_some_and(|acked| acked.into_inner().elapsed() > LEADER_LEASE)
        })
    }

    /// On a leader: how long ago a majority last acknowledged that it leads. A sole voter is its
    /// own.
    #[must_use]
    pub(crate) fn quorum_acked(&self) -> Option<Duration> {
        self.with_metrics(|metrics| {
            let sole = metrics.membership_config.voter_ids().nth(1).is_none();
            match metrics.last_quorum_acked {
                _ if !metrics.state.is_leader() => None,
                _ if sole => Some(Duration::ZERO),
                acked => acked.map(|acked| acked.into_inner().elapsed()),
            }
        })
    }

    /// Whether consensus and storage work.
    #[must_use]
    pub(crate) fn standing(&self) -> Standing {
        if let Some(fault) = self.health.fault() {
            return Standing::Faulty(fault);
        }
        self.with_metrics(|metrics| match &metrics.running_state {
            Ok(()) => Standing::Good,
            Err(fatal) => Standing::Stopped(fatal.to_string()),
        })
    }

    /// Whether the disk does not answer.
    #[must_use]
    pub(crate) fn disk_hangs(&self) -> bool {
        *self.disk_hangs.borrow()
    }

    pub(super) fn set_disk_hangs(&self, hangs: bool) {
        self.disk_hangs.send_replace(hangs);
    }

    /// What `work` answers, unless the disk hangs before, or does already: nothing that needs a
    /// quorum with this node ends before the disk answers, and another node may lead.
    pub(crate) async fn unless_disk_hangs<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut disk_hangs = self.disk_hangs.subscribe();
        tokio::select! {
            biased;
            _ = disk_hangs.wait_for(|hangs| *hangs) => None,
            answer = work => Some(answer),
        }
    }

    /// How much is stored now.
    pub(crate) async fn disk_bytes(&self) -> DiskBytes {
        DiskBytes::measure(&self.sizes).await
    }

    /// The room on the disk that holds the data directory, if the system can say.
    pub(crate) async fn disk_space(&self) -> Option<DiskSpace> {
        DiskSpace::of(&self.data_dir).await
    }

    /// From now on this node refuses to be ready.
    pub(crate) fn begin_stopping(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether this node is on its way down.
    #[must_use]
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns once this node is on its way down.
    pub(crate) async fn stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self` does.
        drop(stopping.wait_for(|stopping| *stopping).await);
    }

    /// Waits until a leader is known to be alive, but no longer than `within`; answers whether one
    /// is.
    pub(crate) async fn wait_for_leader(&self, within: Duration) -> bool {
        const LOOK_AGAIN: Duration = Duration::from_millis(20);
        let alive = async {
            while !self.leader_watch.is_alive() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(within, alive).await.is_ok()
    }

    /// Returns once this node leads, or knows another leader than `not`.
    pub(crate) async fn another_leader(&self, not: NodeId) {
        let mut changes = self.raft.server_metrics();
        loop {
            let leader = changes.borrow_and_update().current_leader;
            if leader.is_some_and(|leader| leader != not) {
                return;
            }
            if changes.changed().await.is_err() {
                // The core has stopped; there will be no other.
                return std::future::pending().await;
            }
        }
    }

    /// Waits until openraft's view of leader, role or membership changes, but no longer than
    /// `pause`.
    pub(crate) async fn leadership_change(&self, pause: Duration) {
        let mut changes = self.raft.server_metrics();
        // A new receiver has seen nothing: without this, what is known already would count as news.
        drop(changes.borrow_and_update());
        if matches!(tokio::time::timeout(pause, changes.changed()).await, Ok(Err(_))) {
            // The core has stopped; there will be no more news.
            tokio::time::sleep(pause).await;
        }
    }
}
