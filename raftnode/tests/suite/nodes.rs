//! Nodes of one cluster, with real sockets, in this process.

use std::path::Path;
use std::time::{Duration, Instant};

use raftnode::{Address, NodeConfig};

/// How long something that is waited for may take.
const WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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

/// Tries again while nothing was applied, as any client does.
pub(crate) async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(e) => assert!(begun.elapsed() < WITHIN, "{what}: {e}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
