//! Attacks TLS between real processes: what is refused, by whom, and what is said about it.

use std::time::{Duration, Instant};

use kvcli::{Client, ClientOptions, ReadMode};
use proto::node::v1::StatusRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::ClientTlsConfig;

use crate::support::{
    Certificates, Cluster, ClusterOptions, Kvcli, Node, as_client, beside_others, document, wait,
};

/// How long anything here may take, a loaded machine included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every port of three nodes has TLS, and clients need certificates. Nothing runs yet.
fn prepare() -> (Cluster, Certificates) {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    let certificates = Certificates::of_cluster(&cluster.path().join("certificates"), 3);
    for node in &mut cluster.nodes {
        node.serve.flags = certificates.all_flags(node.id());
        node.tls = Some(as_client(&certificates, "alice"));
    }
    cluster.tls = certificates.client_options(Some("alice")).tls;
    (cluster, certificates)
}

async fn start() -> (Cluster, Certificates) {
    let (mut cluster, certificates) = prepare();
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    cluster.leader().await;
    (cluster, certificates)
}

async fn says(node: &Node, part: &str) {
    wait::until(&format!("node {} says {part:?}", node.id()), PATIENCE, async || {
        wait::is(node.log().contains(part), || node.log_tail())
    })
    .await;
}

/// Three nodes found a cluster, elect a leader and pass writes on to it over TLS alone. A client
/// without a certificate, one with a certificate of another CA, one that does not speak TLS, and
/// one that trusts another CA are refused, and both sides are told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_tls_everywhere_serves_those_who_prove_themselves() {
    let _place = beside_others();
    let (cluster, certificates) = start().await;
    for node in &cluster.nodes {
        // Followers pass it on.
        let one = Client::connect([node.client_addr()], certificates.client_options(Some("alice"))).unwrap();
        one.put("k", "v").await.unwrap();
    }
    let addr = cluster.node(1).client_addr();
    let refused = async |options: ClientOptions, part: &str| {
        // It tries for so long. On a busy machine that may not be enough for one answer.
        let options = ClientOptions { timeout: Duration::from_secs(3), ..options };
        wait::until(&format!("it is told {part:?}"), PATIENCE, async || {
            let client = Client::connect([&addr], options.clone()).unwrap();
            let error = client.put("k", "x").await.unwrap_err().to_string();
            wait::is(error.contains(part), || error)
        })
        .await;
    };
    refused(certificates.client_options(None), "give --cert and --key").await;
    says(cluster.node(1), "it has shown no certificate").await;
    let other = Certificates::of_cluster(&cluster.path().join("other"), 1);
    refused(other.client_options(Some("alice")), "add its CA to that file").await;
    refused(ClientOptions::default(), "").await;
    let mixed = kvcli::ClientTls {
        ca: certificates.path("ca.pem").into(),
        identity: other.client_options(Some("alice")).tls.unwrap().identity,
    };
    refused(ClientOptions { tls: Some(mixed), ..ClientOptions::default() }, "CA").await;
    assert_eq!(cluster.client().get("k", ReadMode::Linearizable).await.unwrap().pair.unwrap().value, "v");
}

/// What the page about TLS has for three nodes makes certificates that three nodes serve with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_set_it_up() {
    let _place = beside_others();
    let page = include_str!("../../../docs/operations/tls.md");
    let (_, block) = document::blocks(page).into_iter().find(|(mark, _)| *mark == "sh tls").unwrap();
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    for line in document::commands(block) {
        let output = document::shell(&line, cluster.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let certificates = Certificates::there(&cluster.path().join("certificates"));
    for node in &mut cluster.nodes {
        node.serve.flags = certificates.all_flags(node.id());
        node.tls = Some(as_client(&certificates, "alice"));
    }
    cluster.tls = certificates.client_options(Some("alice")).tls;
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    cluster.client().put("k", "v").await.unwrap();
}

/// `kvcli` takes the files by flags, and says what is wrong with them before it dials.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kvcli_has_flags_for_it() {
    let _place = beside_others();
    let (cluster, certificates) = start().await;
    let kvcli = Kvcli::new(&cluster.endpoints());
    let [ca, cert, key] =
        ["ca.pem", "client-alice.pem", "client-alice-key.pem"].map(|name| certificates.path(name));
    kvcli.ok(&format!("--cacert {ca} --cert {cert} --key {key} put greeting hello")).await;
    let tls = format!("--cacert {ca} --cert {cert} --key {key}");
    assert_eq!(kvcli.ok(&format!("get greeting {tls}")).await.trim(), "hello");
    for (flags, part) in [
        (format!("--cert {cert} --key {key}"), "--cacert"),
        (format!("--cacert {ca} --cert {cert}"), "belong together"),
        (format!("--cacert {key}"), "no certificate"),
        (format!("--cacert {ca} --cert {cert} --key {cert}"), "no key"),
        ("--cacert nowhere.pem".to_owned(), "nowhere.pem"),
    ] {
        let ended = kvcli.run(&format!("{flags} get greeting")).await;
        assert_eq!(ended.code, Some(3), "{ended:#?}");
        assert!(ended.stderr.contains(part), "{part}: {ended:#?}");
    }
    wait::until("it says which flags are missing", PATIENCE, async || {
        let ended = kvcli.run(&format!("--timeout 2s --cacert {ca} get greeting")).await;
        wait::is(ended.stderr.contains("--cert and --key"), || format!("{ended:#?}"))
    })
    .await;
}

/// A node with the certificate of another node, of another cluster, with a key that is not that of
/// its certificate, or of a CA that is not among its own does not start, and says why; a supervisor
/// need not try again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_wrong_files_does_not_start() {
    let _place = beside_others();
    let (mut cluster, certificates) = prepare();
    let other = Certificates::new(&cluster.path().join("other"));
    other.make("node --cluster-name other --id 1 --host localhost");
    let good = certificates.peer_flags(1);
    let with = |flag: &str, file: String| {
        let mut flags = good.clone();
        let at = flags.iter().position(|given| given == flag).unwrap();
        flags[at + 1] = file;
        flags
    };
    let swapped = |cert: &str, key: &str, ca: &str| {
        ["--peer-cert", cert, "--peer-key", key, "--peer-ca", ca].map(str::to_owned).to_vec()
    };
    let [cert, key, ca] = ["node-1.pem", "node-1-key.pem", "ca.pem"].map(|name| other.path(name));
    for (flags, part) in [
        (certificates.peer_flags(2), "raft://kv/node/2, and this node is raft://kv/node/1"),
        (swapped(&cert, &key, &ca), "raft://other/node/1"),
        (with("--peer-key", certificates.path("node-2-key.pem")), "is not that of the certificate"),
        (with("--peer-ca", ca.clone()), "is not signed by a CA in"),
        (with("--peer-ca", certificates.path("node-1-key.pem")), "has no certificate"),
        (with("--peer-cert", "nowhere.pem".to_owned()), "cannot read nowhere.pem (--peer-cert)"),
        (good[..4].to_vec(), "--peer-ca"),
    ] {
        let node = cluster.node_mut(1);
        node.serve.flags = flags;
        node.start();
        let status =
            wait::until("it ends", PATIENCE, async || node.exit_status().ok_or("it runs".to_owned())).await;
        assert_eq!(status.code(), Some(3), "{part}: {}", node.log_tail());
        assert!(node.log_of_this_run().contains(part), "{part}: {}", node.log_tail());
        node.kill();
    }
}

/// The certificate of a client opens no port for peers, although the same CA has signed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_no_peer() {
    let _place = beside_others();
    let (cluster, certificates) = start().await;
    // Of a client, to the port for peers.
    let tls = as_client(&certificates, "alice");
    let error = dial(&cluster.node(1).ports().raft_addr(), &tls).await;
    assert!(error.is_some());
    says(cluster.node(1), "its certificate names no node").await;
}

/// Why a request over TLS failed, if it did.
async fn dial(addr: &str, tls: &ClientTlsConfig) -> Option<String> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{addr}")).unwrap();
    let channel = match endpoint.tls_config(tls.clone()).unwrap().connect().await {
        Ok(channel) => channel,
        Err(e) => return Some(format!("{e:?}")),
    };
    let mut client = proto::node::v1::cluster_client::ClusterClient::new(channel);
    client.status(StatusRequest {}).await.err().map(|e| format!("{e:?}"))
}

/// A client that stops half way through its handshake, or says nothing, is cut off after a while;
/// three hundred of them at once keep no other client from connecting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_stops_half_way_holds_nobody_up() {
    let _place = beside_others();
    let (cluster, _) = start().await;
    let node = cluster.node(1);
    let mut half = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(node.client_addr()).await.unwrap();
        // A record of a handshake of 512 bytes, of which one comes.
        stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        half.push(stream);
    }
    let began = Instant::now();
    wait::until("another client is served", PATIENCE, async || node.status().await.map(drop)).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let ends = half.iter_mut().map(async |stream| {
        let mut rest = Vec::new();
        // An alert, the end, or a reset.
        drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is cut off"));
    });
    futures_util::future::join_all(ends).await;
}

/// A client that speaks TLS to a port that has none, and one that speaks none to a port that has
/// it, are told apart from others in the log of the node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_a_port_for_another_is_told() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions { nodes: 1, ..ClusterOptions::default() });
    let certificates = Certificates::of_cluster(&cluster.path().join("certificates"), 1);
    cluster.start_all();
    cluster.all_up().await;
    let options =
        ClientOptions { timeout: Duration::from_secs(2), ..certificates.client_options(Some("alice")) };
    wait::until("it is told so", PATIENCE, async || {
        let client = Client::connect(cluster.endpoints(), options.clone()).unwrap();
        let error = client.get("k", ReadMode::Linearizable).await.unwrap_err().to_string();
        wait::is(error.contains("does not speak TLS there"), || error)
    })
    .await;
    says(cluster.node(1), "the client listener refused a connection from 127.0.0.1").await;
    says(cluster.node(1), "it speaks TLS, and this port has no certificate for that").await;

    let node = cluster.node_mut(1);
    node.stop().await;
    node.serve.flags = certificates.all_flags(1);
    node.tls = Some(as_client(&certificates, "alice"));
    node.start();
    node.up().await;
    assert!(node.http("/livez").await.is_err(), "HTTP without TLS is served");
    says(node, "it does not speak TLS, which this port demands").await;
}
