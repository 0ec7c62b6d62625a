//! Certificates and CAs that are replaced, and clusters that change over to TLS, while clients go
//! on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kvcli::{Client, ReadMode};
use tokio::task::JoinHandle;

use crate::support::{Certificates, Cluster, ClusterOptions, Node, as_client, beside_others, wait};

/// How long anything here may take, a loaded machine included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes one after the other until it is told to stop; each must be acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(client: Client) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&done));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let next = count.load(Ordering::Relaxed) + 1;
                client.put("count", next.to_string()).await.expect("every write is acknowledged");
                count.store(next, Ordering::Relaxed);
            }
        });
        Self { stop, done, task }
    }

    /// Waits until some more writes are acknowledged.
    async fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        wait::until("more writes are acknowledged", PATIENCE, async || {
            let now = self.done.load(Ordering::Relaxed);
            wait::is(now >= before + 5 || self.task.is_finished(), || format!("{before} and then {now}"))
        })
        .await;
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the writer has not failed");
        self.done.load(Ordering::Relaxed)
    }
}

async fn says(node: &Node, part: &str, times: usize) {
    wait::until(&format!("node {} says {part:?}", node.id()), PATIENCE, async || {
        wait::is(node.log().matches(part).count() >= times, || node.log_tail())
    })
    .await;
}

/// From plaintext to TLS by two rounds of restarts, one node at a time, while a client writes:
/// first with certificates and `--allow-plaintext`, then the client changes over, then without it.
/// No write fails, and at the end plaintext is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_changes_over_to_tls_without_a_pause() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let certificates = Certificates::of_cluster(&cluster.path().join("certificates"), 3);
    let plain = Writer::start(cluster.client());
    for id in 1..=3 {
        let node = cluster.node_mut(id);
        node.serve.flags = [certificates.all_flags(id), vec!["--allow-plaintext".to_owned()]].concat();
        node.restart().await;
        cluster.leader().await;
        plain.goes_on().await;
    }
    cluster.tls = certificates.client_options(Some("alice")).tls;
    let secured = Writer::start(cluster.client());
    secured.goes_on().await;
    plain.end().await;
    for id in 1..=3 {
        let node = cluster.node_mut(id);
        node.serve.flags = certificates.all_flags(id);
        node.tls = Some(as_client(&certificates, "alice"));
        node.restart().await;
        cluster.leader().await;
        secured.goes_on().await;
    }
    let last = secured.end().await;
    let found = cluster.client().get("count", ReadMode::Linearizable).await.unwrap().pair.unwrap().value;
    assert_eq!(found, last.to_string());
    cluster.tls = None;
    cluster.client_with(Duration::from_secs(2)).get("count", ReadMode::Linearizable).await.unwrap_err();
}

/// The CA is replaced in three steps (both CAs in the bundle; new certificates; the new CA alone)
/// while a client writes over one connection, and no node is restarted. At the end a new node key
/// of the old CA is worth nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_is_replaced_while_connections_are_open() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    let (dir, next) = (cluster.path().join("certificates"), cluster.path().join("next"));
    let (old, new) = (Certificates::of_cluster(&dir, 3), Certificates::of_cluster(&next, 3));
    for node in &mut cluster.nodes {
        node.serve.flags = old.all_flags(node.id());
        node.tls = Some(as_client(&old, "alice"));
    }
    cluster.tls = old.client_options(Some("alice")).tls;
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    cluster.leader().await;
    let writer = Writer::start(cluster.client());
    let changed = "certificates, keys or CAs have changed";

    let read =
        |certificates: &Certificates, name: &str| std::fs::read_to_string(certificates.path(name)).unwrap();
    let both = read(&old, "ca.pem") + &read(&new, "ca.pem");
    std::fs::write(old.path("ca.pem"), &both).unwrap();
    for node in &cluster.nodes {
        says(node, changed, 1).await;
    }
    writer.goes_on().await;
    for id in 1..=3 {
        for name in [format!("node-{id}-key.pem"), format!("node-{id}.pem")] {
            std::fs::copy(new.path(&name), old.path(&name)).unwrap();
        }
    }
    for node in &cluster.nodes {
        says(node, changed, 2).await;
    }
    // A client of the old CA is served by nodes of the new one.
    cluster.client().get("count", ReadMode::Linearizable).await.unwrap();
    std::fs::copy(new.path("ca.pem"), old.path("ca.pem")).unwrap();
    for node in &cluster.nodes {
        says(node, changed, 3).await;
    }
    writer.goes_on().await;
    let last = writer.end().await;
    cluster.tls = new.client_options(Some("alice")).tls;
    assert_eq!(
        cluster.client().get("count", ReadMode::Linearizable).await.unwrap().pair.unwrap().value,
        last.to_string()
    );
    cluster.tls = old.client_options(Some("alice")).tls;
    wait::until("a client of the old CA is told why", PATIENCE, async || {
        let client = cluster.client_with(Duration::from_secs(2));
        let error = client.get("count", ReadMode::Linearizable).await.unwrap_err().to_string();
        wait::is(error.contains("CA"), || error)
    })
    .await;
}

/// A broken new file is said once and the old one stays in use; a certificate that expires is said,
/// shown as a figure below 0, refused by the others, and replaced without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_and_expired_certificates_are_mended_without_a_restart() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    let certificates = Certificates::of_cluster(&cluster.path().join("certificates"), 3);
    for node in &mut cluster.nodes {
        node.serve.flags = certificates.peer_flags(node.id());
    }
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    cluster.leader().await;
    let follower = cluster.followers().await[0];
    let file = certificates.path(&format!("node-{follower}.pem"));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
    says(cluster.node(follower), "is not used, and the old one stays", 1).await;
    cluster.client().put("k", "v").await.unwrap();

    certificates.node_in_time(follower, -7200, -3600);
    says(cluster.node(follower), "has expired, and connections are refused", 1).await;
    let metrics = cluster.node(follower).http("/metrics").await.unwrap().1;
    let series = crate::support::Series::parse(&metrics);
    assert!(series.sum("tls_certificate_expiry_seconds", &["port=\"peer\""]) < 0.0, "{metrics}");
    assert_eq!(cluster.node(follower).log().matches("is not used, and the old one stays").count(), 1);
    // It starts with it, too, and is kept out.
    let node = cluster.node_mut(follower);
    assert!(node.stop().await.success());
    node.start();
    node.up().await;
    let leader = cluster.nodes.iter().find(|node| node.id() != follower).unwrap();
    says(leader, "its certificate has expired", 1).await;

    certificates.node(follower);
    wait::until("the node has caught up", PATIENCE, async || {
        let status = cluster.node(follower).status().await?;
        wait::is(status.header.is_some_and(|header| header.leader_id != 0), || "no leader".to_owned())
    })
    .await;
    cluster.settled().await;
}
