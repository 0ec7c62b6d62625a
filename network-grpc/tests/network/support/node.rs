//! One member in a runtime of its own, so that killing it drops everything at once.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use network_grpc::{CertifiedSender, RaftService, incoming, server_builder};
use openraft::{BasicNode, Config, Raft, ReadPolicy, SnapshotPolicy};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::service::InterceptorLayer;

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::{Blob, CLUSTER, TypeConfig, identity, network, options};

/// A node's tasks have ended, and its sockets are closed.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

pub struct Node {
    pub id: u64,
    pub address: String,
    pub log: LogStore,
    pub state: StateMachine,
    pub raft: Raft<TypeConfig, StateMachine>,
    runtime: Option<Runtime>,
}

/// Elections on, snapshots only when asked for, few entries kept in the log.
pub fn config() -> Config {
    Config {
        cluster_name: CLUSTER.to_string(),
        heartbeat_interval: 100,
        // So long that a busy machine hardly ever causes an election.
        election_timeout_min: 1200,
        election_timeout_max: 2400,
        enable_pre_vote: Some(true),
        // As in the configuration that is safe with a durable store: a restarted leader has to be
        // elected.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        ..Config::default()
    }
}

/// The port of a node that was killed may still be on its way to be free.
async fn bind(at: &str) -> TcpListener {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(at).await {
            Ok(listener) => return listener,
            Err(e) => assert!(begun.elapsed() < KILLED_WITHIN, "cannot listen at {at}: {e}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Node {
    pub async fn start(id: u64) -> Self {
        Self::start_with(id, "127.0.0.1:0", LogStore::default(), StateMachine::default()).await
    }

    /// All that connects to it has shown the certificate of this node.
    pub async fn start_certified(id: u64, sender: u64) -> Self {
        Self::serve(id, "127.0.0.1:0", LogStore::default(), StateMachine::default(), Some(sender)).await
    }

    pub async fn start_with(id: u64, at: &str, log: LogStore, state: StateMachine) -> Self {
        Self::serve(id, at, log, state, None).await
    }

    async fn serve(id: u64, at: &str, log: LogStore, state: StateMachine, certified: Option<u64>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (at, log_store, machine) = (at.to_owned(), log.clone(), state.clone());
        let serving = runtime.spawn(async move {
            let listener = bind(&at).await;
            let address = listener.local_addr().unwrap().to_string();
            let config = Arc::new(config().validate().unwrap());
            let raft = Raft::new(id, config, network(id), log_store, machine).await.unwrap();
            let inbox = |_| async { Ok(Cursor::new(Vec::new())) };
            let service = RaftService::new(raft.clone(), identity(id), inbox, options());
            let certify = InterceptorLayer::new(move |mut request: tonic::Request<()>| {
                if let Some(sender) = certified {
                    request.extensions_mut().insert(CertifiedSender(sender));
                }
                Ok(request)
            });
            let server = server_builder(&options()).layer(certify).add_service(service.into_server());
            tokio::spawn(server.serve_with_incoming(incoming(listener)));
            (address, raft)
        });
        let (address, raft) = serving.await.unwrap();
        Self { id, address, log, state, raft, runtime: Some(runtime) }
    }

    /// Like `kill -9`: no task runs on, sockets are closed, the log stays.
    pub fn kill(mut self) -> (u64, String, LogStore, StateMachine) {
        let runtime = self.runtime.take().unwrap();
        // A runtime cannot wait within another.
        std::thread::spawn(move || runtime.shutdown_timeout(KILLED_WITHIN)).join().unwrap();
        (self.id, self.address.clone(), self.log.clone(), self.state.clone())
    }

    /// Takes an entry that reaches no other node, and so is never acknowledged. The others have
    /// just died: for a moment the leader still takes writes.
    pub async fn append_alone(&self) {
        let (raft, before) = (self.raft.clone(), self.log.last_index());
        tokio::spawn(async move { raft.client_write(Blob::of(1)).await.map(drop) });
        super::eventually("an entry of its own", || async { self.log.last_index() > before }).await;
    }

    pub fn member(&self) -> (u64, BasicNode) {
        (self.id, BasicNode::new(&self.address))
    }

    pub fn is_leader(&self) -> bool {
        use openraft::async_runtime::watch::WatchReceiver;
        self.raft.metrics().borrow_watched().current_leader == Some(self.id)
    }

    /// It leads, and a majority has said so since: before that a new leader has no lease, and
    /// refuses writes.
    pub async fn leads_a_quorum(&self) -> bool {
        self.is_leader() && self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.is_ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Three initialised voters, the first the leader.
pub async fn three() -> Vec<Node> {
    cluster(3).await
}

/// So many initialised voters, the first the leader.
pub async fn cluster(size: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    for id in 1..=size {
        nodes.push(Node::start(id).await);
    }
    let members: BTreeMap<_, _> = nodes.iter().map(Node::member).collect();
    nodes[0].raft.initialize(members).await.unwrap();
    super::eventually("a leader with a quorum", || nodes[0].leads_a_quorum()).await;
    nodes
}
