//! Attacks the second promise with damage under a running leader: it must not answer from it, must
//! let another lead, and is replaced as docs/operations says.
//!
//! How it could fail: a missing or changed value is answered; a damaged leader goes on leading and
//! serves nothing; a repaired cluster is not the same on every node.

use std::path::Path;
use std::time::Duration;

use crate::support::document::{blocks, commands, operations, shell};
use crate::support::{
    Cluster, ClusterOptions, Dice, Load, LoadOptions, Node, beside_others, files, free_ports,
    refuses_everything, run_to_end, wait,
};
use futures_util::future::try_join_all;
use proto::kv::v1::GetRequest;
use tonic::Code;

const PROGRESS_TIMEOUT: Duration = Duration::from_secs(40);
/// A leader that went on would pause them for ever.
const MAX_PAUSE: Duration = Duration::from_secs(15);
const RUN_TIMEOUT: Duration = Duration::from_secs(70);
/// So many and so large that reading them all takes blocks from several tables.
const LARGE_KEYS: usize = 400;
const LARGE_VALUE_BYTES: usize = 8 * 1024;

/// Every table of the state is damaged under the running leader, and all keys are read from it. It
/// must answer each rightly or refuse, notice, and let another lead; then it is replaced as
/// docs/operations says, and all nodes store the same.
///
/// Found: a leader whose fault came to light by a read went on sending heartbeats: it refused every
/// request, and no other node took over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_under_a_running_leader_is_noticed_and_the_node_replaced() {
    const DAMAGED: u64 = 3;
    let _place = beside_others();
    let mut dice = Dice::new("damage under a running leader");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    put_large(&cluster).await;
    // Nothing is in memory after this, and everything in tables.
    cluster.node_mut(DAMAGED).restart().await;
    make_leader(&cluster, DAMAGED).await;
    let mut load = Load::start(
        &cluster.client(),
        LoadOptions { writers: 4, readers: 1, ..LoadOptions::default() },
        &mut dice,
    );
    load.progress(100, PROGRESS_TIMEOUT).await;

    let tables = files(&cluster.node(DAMAGED).serve.data_dir, "storage/state/table-*/*.ldb");
    let damaged: Vec<_> = tables.iter().map(|table| flip_bits(table, &mut dice)).collect();
    println!("{} bits flipped in {} tables", damaged.iter().sum::<usize>(), tables.len());
    load.ledger.pause.restart();
    let (right, refused) = read_all(cluster.node(DAMAGED)).await;
    println!("{right} right answers, then {refused} refusals");
    assert!(refused > 0, "nothing was noticed");
    refuses_everything(cluster.node(DAMAGED), Code::DataLoss, ".ldb").await;
    load.progress(100, PROGRESS_TIMEOUT).await;
    let pause = load.ledger.pause.longest();
    println!("longest pause of the writers: {pause:.2?}");
    assert!(pause < MAX_PAUSE, "a pause of {pause:?}");

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
        let client = &client;
        async move { client.put(large_key(n), large_value(n)).await }
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

/// Reads every large key from the node itself; answers how many reads were right and how many
/// refused.
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

/// Runs the commands of docs/operations by which node 4 replaces node 3, with the addresses of this
/// cluster.
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
    for (mark, text) in blocks(&operations()) {
        for line in commands(text).into_iter().filter(|_| mark.starts_with("sh replace")) {
            ran.push(line.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
            let mut command = shell(&here(&line), &dir);
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
    assert_eq!(ran, ["kvnode serve --id", "kvcli cluster replace"]);
}
