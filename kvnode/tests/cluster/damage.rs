//! Attacks the second promise with damaged files: a node must not answer from them, and must say which it is.
//!
//! How it could fail: a lost vote or a lost acknowledged entry goes unnoticed, and a majority forgets; a missing or
//! changed value is answered; the node ends or hangs and nobody learns why; a damaged leader goes on leading and serves
//! nothing; a repaired cluster is not the same on every node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::document::{blocks, shell};
use crate::support::{
    Cluster, ClusterOptions, Damage, Dice, Harm, Load, LoadOptions, Node, State, alone, free_ports,
    kv_client, run_to_end, wait,
};
use futures_util::future::try_join_all;
use proto::kv::v1 as kv;
use proto::kv::v1::{GetRequest, PutRequest};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");
/// Every kind of file in a data directory, as a path in it; `*` stands for numbers and the like. A missing lock file is
/// harmless: the node serves, and LevelDB's logs, which come next, have something in them.
const KINDS: [&str; 17] = [
    "IDENTITY",
    "LOCK",
    "storage/state/db-*/*.log",
    "storage/LOCK",
    "storage/log/*.log",
    "storage/log/*.ldb",
    "storage/log/MANIFEST-*",
    "storage/log/CURRENT",
    "storage/log/WITNESS",
    "storage/state/ACTIVE",
    "storage/state/db-*/*.ldb",
    "storage/state/db-*/MANIFEST-*",
    "storage/state/db-*/CURRENT",
    "storage/state/db-*/WITNESS",
    "storage/snapshot/ACTIVE",
    "storage/snapshot/*.snap",
    "storage/FORMAT",
];
/// Lost as a whole, none of them may be started empty.
const DIRECTORIES: [&str; 5] =
    ["storage", "storage/log", "storage/state", "storage/state/db-*", "storage/snapshot"];
/// Empty, and only locked.
const LOCKS: [&str; 2] = ["storage/LOCK", "LOCK"];
/// A start, an election, and catching up on a loaded machine.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(20);
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(15);
/// Acknowledged while the damaged node is down.
const PUTS_MEANWHILE: usize = 8;
const MAX_PAUSE: Duration = Duration::from_secs(6);
const RUN_TIMEOUT: Duration = Duration::from_secs(70);
/// So many and so large that reading them all takes blocks from several tables.
const LARGE_KEYS: usize = 400;
const LARGE_VALUE_BYTES: usize = 8 * 1024;

/// What a damaged node did.
#[derive(Debug)]
enum Outcome {
    /// It stays up and names the fault.
    Refused(String),
    /// It ended at once and said why: whose data it is cannot be known.
    Ended(String),
    /// It serves, and stores what the others store.
    Harmless,
}

#[derive(Debug, Default)]
struct Count {
    refused: usize,
    /// Of these, how often a missing file was named by its directory only.
    by_directory: usize,
    ended: usize,
    harmless: usize,
}

/// A node is stopped (cleanly, then by `kill -9`) under load; then, for every kind of file in its directory, a bit is flipped, the
/// end is cut off, or the file is removed, and it is started; then whole directories are lost. It must name the file and refuse everything, or serve
/// exactly what the others store. The others acknowledge writes meanwhile. Damage is undone in place and never by an older copy of
/// the directory, so what a refusing node left there must be good, too: in the end all nodes store the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_named_or_harmless() {
    let _alone = alone();
    let mut dice = Dice::new("damage");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let options = LoadOptions { writers: 4, readers: 1, ..LoadOptions::default() };
    let mut count = Count::default();
    for politely in [true, false] {
        let mut load = Load::start(&cluster.client(), options, &mut dice);
        let id = stopped_follower(&mut cluster, &mut load, politely, &mut dice).await;
        let ledger = load.stop().await;
        for kind in KINDS {
            for harm in Harm::ALL {
                one_damage(&mut cluster, id, (kind, harm), politely, &mut dice, &mut count).await;
            }
        }
        for dir in DIRECTORIES {
            lost_directory(&mut cluster, id, dir).await;
        }
        cluster.node_mut(id).start();
        cluster.node_mut(id).up().await;
        ledger.assert_kept(&cluster.same_state().await);
    }
    println!("{count:?}");
    assert!(count.refused > 30 && count.ended > 3, "hardly anything was noticed: {count:?}");
}

/// A follower with every kind of file: restarted once, so that there are tables; with a snapshot of its own; and with entries
/// behind it in both logs.
async fn stopped_follower(cluster: &mut Cluster, load: &mut Load, politely: bool, dice: &mut Dice) -> u64 {
    load.progress(200, PROGRESS_TIMEOUT).await;
    let id = dice.pick(&cluster.followers().await);
    restart(cluster.node_mut(id)).await;
    load.progress(200, PROGRESS_TIMEOUT).await;
    wait::until("a snapshot is built", PROGRESS_TIMEOUT, async || {
        let built = cluster.node(id).admin().snapshot(kv::SnapshotRequest {}).await;
        built.map(drop).map_err(|e| e.to_string())
    })
    .await;
    load.progress(200, PROGRESS_TIMEOUT).await;
    end(cluster.node_mut(id), politely).await;
    load.progress(200, PROGRESS_TIMEOUT).await;
    id
}

async fn end(node: &mut Node, politely: bool) {
    if politely {
        assert!(node.stop().await.success(), "{}", node.log_tail());
    } else {
        node.kill();
    }
}

async fn restart(node: &mut Node) {
    assert!(node.stop().await.success(), "{}", node.log_tail());
    node.start();
    node.up().await;
}

async fn one_damage(
    cluster: &mut Cluster,
    id: u64,
    (kind, harm): (&str, Harm),
    politely: bool,
    dice: &mut Dice,
    count: &mut Count,
) {
    if LOCKS.contains(&kind) && harm != Harm::Remove {
        return;
    }
    let mut found = files(&cluster.node(id).serve.data_dir, kind);
    // A node that latched a fault may leave a table that it had only begun.
    found.retain(|path| LOCKS.contains(&kind) || path.metadata().unwrap().len() > 0);
    assert!(!found.is_empty(), "no {kind} in the directory of node {id}");
    // Of LevelDB's logs only the newest has more than a header.
    let path = match kind.ends_with(".log") {
        true => found.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap(),
        false => &found[dice.below(found.len())],
    };
    let damage = if LOCKS.contains(&kind) {
        std::fs::remove_file(path).unwrap();
        None
    } else {
        Some(Damage::inflict(path, harm, dice))
    };
    let what = damage.as_ref().map_or_else(|| format!("{} removed", path.display()), ToString::to_string);
    cluster.node_mut(id).start();
    put_some(cluster).await;
    let outcome = outcome(cluster, id).await;
    match &outcome {
        Outcome::Refused(reason) => {
            count.refused += 1;
            let node = cluster.node(id);
            let named = named_as(reason, path);
            let name = named.unwrap_or_else(|| panic!("{what}: not named: {reason}"));
            count.by_directory += usize::from(name != path.display().to_string());
            refuses_everything(node, Code::DataLoss, &name).await;
            let status = cluster.node_mut(id).stop().await;
            assert_eq!(status.code(), Some(1), "{what}: a failed node ends well");
        }
        Outcome::Ended(log) => {
            count.ended += 1;
            let name = path.display().to_string();
            assert!(
                kind == "IDENTITY"
                    && (log.contains(&name) || harm == Harm::Remove && log.contains("no IDENTITY")),
                "{what}: {log}"
            );
            cluster.node_mut(id).kill();
        }
        Outcome::Harmless => {
            count.harmless += 1;
            end(cluster.node_mut(id), politely).await;
        }
    }
    println!("{what}: {outcome:?}");
    if let Some(damage) = damage {
        damage.undo();
    }
}

async fn lost_directory(cluster: &mut Cluster, id: u64, dir: &str) {
    let path = files(&cluster.node(id).serve.data_dir, dir).pop().unwrap();
    let aside = cluster.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    cluster.node_mut(id).start();
    put_some(cluster).await;
    let outcome = outcome(cluster, id).await;
    println!("{} removed: {outcome:?}", path.display());
    let name = path.display().to_string();
    assert!(
        matches!(&outcome, Outcome::Refused(reason) if reason.contains(&name)),
        "{name} is lost: {outcome:?}"
    );
    refuses_everything(cluster.node(id), Code::DataLoss, &name).await;
    cluster.node_mut(id).kill();
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    std::fs::rename(&aside, &path).unwrap();
}

/// The file that the reason names, or at least its directory if it is missing.
fn named_as(reason: &str, path: &Path) -> Option<String> {
    let candidates = [Some(path), path.parent().filter(|_| !path.exists())];
    let mut names = candidates.into_iter().flatten().map(|path| path.display().to_string());
    names.find(|name| reason.contains(name.as_str()))
}

/// The files of a data directory that match a pattern.
fn files(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for part in pattern.split('/') {
        let inside = found.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
        let (start, end) = part.split_once('*').unwrap_or((part, ""));
        let matches = |name: &str| match part.contains('*') {
            true => name.starts_with(start) && name.ends_with(end),
            false => name == part,
        };
        let paths = inside.map(|entry| entry.unwrap().path());
        found = paths.filter(|path| matches(path.file_name().unwrap().to_str().unwrap())).collect();
    }
    found.sort();
    found
}

/// Acknowledged whatever the damaged node does.
async fn put_some(cluster: &Cluster) {
    let client = cluster.client();
    let puts = (0..PUTS_MEANWHILE).map(|n| {
        let session = client.session();
        async move { session.put(format!("meanwhile/{n}"), "value").await }
    });
    try_join_all(puts).await.expect("the others go on");
}

async fn outcome(cluster: &mut Cluster, id: u64) -> Outcome {
    wait::until("the damaged node refuses or serves", OUTCOME_TIMEOUT, async || {
        let node = cluster.node_mut(id);
        if let Some(status) = node.exit_status() {
            assert_eq!(status.code(), Some(1), "{}", node.log_tail());
            return Ok(Outcome::Ended(node.log_of_this_run()));
        }
        let (code, text) = node.http("/readyz").await?;
        if text.contains("storage fault") {
            assert_eq!(code, 503);
            return Ok(Outcome::Refused(text));
        }
        wait::is(code == 200, || text)?;
        let statuses = cluster.statuses().await?;
        let reached = statuses.iter().flat_map(|status| [status.applied_index, status.last_log_index]);
        let reached: Vec<_> = reached.collect();
        wait::is(reached.windows(2).all(|two| two[0] == two[1]), || format!("(applied, last): {reached:?}"))?;
        let other = cluster.nodes.iter().find(|node| node.id() != id).unwrap();
        let expected = State::of(other).await;
        let state = State::try_of(cluster.node(id)).await.map_err(|status| status.to_string())?;
        expected.assert_same(&state);
        Ok(Outcome::Harmless)
    })
    .await
}

/// A node with a storage fault, on every surface.
async fn refuses_everything(node: &Node, code: Code, name: &str) {
    let refused = |what: &str, answer: Result<(), Status>| {
        let status = answer.expect_err(what);
        assert!(status.code() == code && status.message().contains(name), "{what}: {status:?}");
    };
    let (mut kv, mut admin) = (node.kv(), node.admin());
    let get = |stale| GetRequest { key: "meanwhile/0".into(), stale };
    refused("a stale get", kv.get(get(true)).await.map(drop));
    refused("a get", kv.get(get(false)).await.map(drop));
    refused("a put", kv.put(PutRequest { key: "x".into(), ..PutRequest::default() }).await.map(drop));
    refused("a scan", State::try_of(node).await.map(drop));
    refused("init", admin.init(kv::InitRequest {}).await.map(drop));
    let status = admin.status(kv::StatusRequest {}).await.unwrap().into_inner();
    assert!(status.node_id == node.id() && status.fault.contains(name), "{status:?}");

    for path in ["/readyz", "/livez"] {
        let (code, text) = node.http(path).await.unwrap();
        assert!(code == 503 && text.contains(name), "{path}: {code} {text}");
    }
    for path in ["/api/cluster", "/api/status"] {
        let (code, text) = node.http(path).await.unwrap();
        assert!(code == 200 && text.contains(name), "{path}: {code} {text}");
    }
    assert_eq!(node.http("/metrics").await.unwrap().0, 200);
    // A running node looks at its storage now and then. openraft adds a line of its own for each append under way.
    wait::until("the log says it once", PROGRESS_TIMEOUT, async || {
        let log = node.log_of_this_run();
        let said =
            log.lines().filter(|line| line.contains("ERROR storage fault") && line.contains(name)).count();
        wait::is(said == 1, || format!("said {said} times: {log}"))
    })
    .await;
    assert_eq!(health(node).await, ServingStatus::NotServing);
    // Peers take this for "unreachable"; a good node does not know the service on that port.
    let peer = kv_client(&node.ports().raft_addr()).get(get(true)).await.unwrap_err();
    assert!(matches!(peer.code(), Code::Unavailable | Code::Unimplemented), "{peer:?}");
}

async fn health(node: &Node) -> ServingStatus {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", node.client_addr())).unwrap();
    let mut client = HealthClient::new(channel.connect_lazy());
    wait::until("gRPC health follows", PROGRESS_TIMEOUT, async || {
        let request = HealthCheckRequest { service: "kv.v1.Kv".to_owned() };
        let answer = client.check(request).await.map_err(|status| status.to_string())?.into_inner();
        let serving = answer.status() == ServingStatus::Serving;
        wait::is(!serving, || "SERVING".to_owned()).map(|()| answer.status())
    })
    .await
}

/// Every table of the state is damaged under the running leader, and all keys are read from it. It must answer each
/// rightly or refuse, notice, and let another lead; then it is replaced as OPERATIONS.md says, and all nodes store the same.
///
/// Found: a leader whose fault came to light by a read went on sending heartbeats: it refused every request, and nobody took over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_under_a_running_leader_is_noticed_and_the_node_replaced() {
    const DAMAGED: u64 = 3;
    let _alone = alone();
    let mut dice = Dice::new("damage under a running leader");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    put_large(&cluster).await;
    // Nothing is in memory after this, and everything in tables.
    restart(cluster.node_mut(DAMAGED)).await;
    make_leader(&cluster, DAMAGED).await;
    let mut load = Load::start(
        &cluster.client(),
        LoadOptions { writers: 4, readers: 1, ..LoadOptions::default() },
        &mut dice,
    );
    load.progress(100, PROGRESS_TIMEOUT).await;

    let tables = files(&cluster.node(DAMAGED).serve.data_dir, "storage/state/db-*/*.ldb");
    let damaged: Vec<_> = tables.iter().map(|table| flip_bits(table, &mut dice)).collect();
    println!("{} bits flipped in {} tables", damaged.iter().sum::<usize>(), tables.len());
    load.ledger.pause.restart();
    let (right, refused) = read_all(cluster.node(DAMAGED)).await;
    println!("{right} right answers, then {refused} refusals");
    assert!(refused > 0, "nothing was noticed");
    refuses_everything(cluster.node(DAMAGED), Code::DataLoss, ".ldb").await;
    load.progress(100, PROGRESS_TIMEOUT).await;
    println!("longest pause of the writers: {:.2?}", load.ledger.pause.longest());
    assert!(load.ledger.pause.longest() < MAX_PAUSE);

    repair(&mut cluster, DAMAGED).await;
    let ledger = load.stop().await;
    let state = cluster.same_state().await;
    ledger.assert_kept(&state);
    assert_eq!(
        cluster.nodes.iter().filter(|node| node.is_started()).map(Node::id).collect::<Vec<_>>(),
        [1, 2, 4]
    );
    for n in 0..LARGE_KEYS {
        assert_eq!(state.get(&large_key(n)).unwrap().value, large_value(n));
    }
}

fn large_key(n: usize) -> Vec<u8> {
    format!("large/{n:04}").into_bytes()
}

fn large_value(n: usize) -> Vec<u8> {
    large_key(n).repeat(LARGE_VALUE_BYTES / 10)
}

async fn put_large(cluster: &Cluster) {
    let client = cluster.client();
    let puts = (0..LARGE_KEYS).map(|n| {
        let session = client.session();
        async move { session.put(large_key(n), large_value(n)).await }
    });
    try_join_all(puts).await.expect("large values are written");
    cluster.settled().await;
}

async fn make_leader(cluster: &Cluster, id: u64) {
    wait::until("the node leads", PROGRESS_TIMEOUT, async || {
        if cluster.leader().await == id {
            return Ok(());
        }
        let asked = cluster.client().transfer_leader(id).await;
        Err(format!("{:?}", asked.err()))
    })
    .await;
}

/// One bit in every 16 KiB; the file stays the same to those who have it open.
fn flip_bits(table: &Path, dice: &mut Dice) -> usize {
    use std::os::unix::fs::FileExt as _;
    const EVERY: usize = 16 * 1024;
    let file = std::fs::File::options().read(true).write(true).open(table).unwrap();
    let bytes = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let starts = (0..bytes).step_by(EVERY);
    let flips = starts.map(|start| (start + dice.below(EVERY.min(bytes - start))) as u64);
    let flips: Vec<_> = flips.collect();
    for at in &flips {
        let mut byte = [0];
        file.read_exact_at(&mut byte, *at).unwrap();
        byte[0] ^= 1 << dice.below(8);
        file.write_all_at(&byte, *at).unwrap();
    }
    flips.len()
}

/// Reads every large key from the node itself; answers how many reads were right and how many refused.
async fn read_all(node: &Node) -> (usize, usize) {
    let mut kv = node.kv();
    let (mut right, mut refused) = (0, 0);
    for n in 0..LARGE_KEYS {
        match kv.get(GetRequest { key: large_key(n).into(), stale: true }).await {
            Ok(answer) => {
                assert_eq!(refused, 0, "it answers after a fault");
                let pair = answer.into_inner().pair.unwrap_or_else(|| panic!("{n}: said not to be there"));
                assert_eq!(pair.value, large_value(n));
                right += 1;
            }
            Err(status) => {
                assert_eq!(status.code(), Code::DataLoss, "{status:?}");
                refused += 1;
            }
        }
    }
    (right, refused)
}

/// Runs the commands of OPERATIONS.md by which node 4 replaces node 3, with the addresses of this cluster.
async fn repair(cluster: &mut Cluster, damaged: u64) {
    let new = free_ports(1)[0];
    let known = cluster.nodes.iter().map(|node| (node.id(), node.ports())).chain([(4, new)]);
    let addresses: Vec<_> = known
        .flat_map(|(id, ports)| {
            [(7000, ports.client_addr()), (7100, ports.raft_addr()), (7200, ports.http_addr())]
                .map(|(base, addr)| (format!("127.0.0.1:{}", base + id), addr))
        })
        .collect();
    let here = |line: &str| {
        addresses.iter().fold(line.to_owned(), |line, (written, real)| line.replace(written, real))
    };
    let (dir, endpoints) = (cluster.path().to_owned(), cluster.endpoints().join(","));
    let mut ran = Vec::new();
    for (mark, text) in blocks(OPERATIONS) {
        for line in text.lines().filter(|_| mark.starts_with("sh replace")) {
            ran.push(line.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
            let mut command = shell(&here(line), &dir);
            command.env("KVCLI_ENDPOINTS", &endpoints);
            if mark == "sh replace background" {
                assert_eq!(cluster.node_mut(damaged).stop().await.code(), Some(1), "a failed node ends well");
                cluster.push(4, new, String::new());
                cluster.node_mut(4).start_as(&mut command);
                cluster.node_mut(4).up().await;
                continue;
            }
            let ended = run_to_end(command, RUN_TIMEOUT).await;
            assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        }
    }
    let expected =
        ["kvcli cluster remove", "kvnode serve --id", "kvcli cluster add-learner", "kvcli cluster promote"];
    assert_eq!(ran, expected);
}
