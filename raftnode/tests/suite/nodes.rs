//! Nodes of one cluster, with real sockets, in this process.

use std::path::Path;
use std::time::{Duration, Instant};

use raftnode::{Address, Application, Error, Node, NodeConfig};

/// How long something that is waited for may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Ports are taken once all are known, so that the peer list can name them.
pub(crate) fn configs(dir: &Path, nodes: u64) -> Vec<NodeConfig> {
    let free = || {
        let listener = crate::ports::hold();
        let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
        (listener, address)
    };
    let mut held = Vec::new();
    let mut configs = Vec::new();
    for id in 1..=nodes {
        let [client, raft, http] = [free(), free(), free()].map(|(listener, address)| {
            held.push(listener);
            address
        });
        configs.push(NodeConfig::new(id, dir.join(id.to_string()), client, raft, http));
    }
    let listed = configs
        .iter()
        .map(|config| format!("{}={}/{}", config.id, config.raft.advertise, config.client.advertise));
    let peers = listed.collect::<Vec<_>>().join(",");
    configs.iter_mut().for_each(|config| config.peers = Some(peers.parse().unwrap()));
    configs
}

/// Starts nodes 1 to `N`, the members of one cluster.
pub(crate) async fn cluster<A: Application, const N: usize>(
    dir: &Path,
    application: impl Fn() -> A,
) -> [Node<A>; N] {
    let mut nodes = Vec::new();
    for config in configs(dir, N as u64) {
        nodes.push(Node::builder(application()).start(config).await.unwrap());
    }
    until("init", async || nodes[0].init().await.map_err(|e| e.to_string())).await;
    let Ok(nodes) = nodes.try_into() else { panic!("as many nodes as configurations") };
    nodes
}

/// Tries again while nothing was applied: on a busy machine a leader may be lost.
pub(crate) async fn again<T>(mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let started = Instant::now();
    loop {
        match attempt().await {
            Err(error @ Error::NotApplied(_)) => assert!(started.elapsed() < DEADLINE, "{error}"),
            ended => return ended,
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Tries again whatever failed.
pub(crate) async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(e) => assert!(begun.elapsed() < DEADLINE, "{what}: {e}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
