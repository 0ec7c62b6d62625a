//! Nodes of one cluster in this process, with real sockets and disks.

use std::path::Path;
use std::time::{Duration, Instant};

use raftnode::{Application, Error, Node, NodeConfig};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Starts nodes 1 to `N`, the members of one cluster.
pub(crate) async fn cluster<A: Application, const N: usize>(
    home: &Path,
    application: impl Fn() -> A,
) -> [Node<A>; N] {
    let addresses = [(); N].map(|()| {
        let listeners = [(); 3].map(|()| crate::ports::hold());
        listeners.map(|listener| listener.local_addr().unwrap().to_string())
    });
    let peers: Vec<_> =
        (1_u64..).zip(&addresses).map(|(id, [client, raft, _])| format!("{id}={raft}/{client}")).collect();
    let mut nodes = Vec::new();
    for (id, [client, raft, http]) in (1_u64..).zip(&addresses) {
        let listen = |address: &String| address.parse().unwrap();
        let dir = home.join(id.to_string());
        let mut config = NodeConfig::new(id, dir, listen(client), listen(raft), listen(http));
        config.peers = Some(peers.join(",").parse().unwrap());
        nodes.push(Node::builder(application()).start(config).await.unwrap());
    }
    let started = Instant::now();
    while let Err(error) = nodes[0].init().await {
        assert!(started.elapsed() < DEADLINE, "{error}");
    }
    let Ok(nodes) = nodes.try_into() else { panic!("as many nodes as addresses") };
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
