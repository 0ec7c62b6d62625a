//! `snapshots`: what building, sending and installing snapshots of a large state costs those who
//! write, and in memory.
//!
//! The writers' part: puts at half of the maximum rate, in turns without and with snapshots built
//! one after the other. Memory is that of a fresh process that has opened the storage, and of a
//! fresh follower in another process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::storage::RaftStateMachine;
use storage_leveldb::{Options, Storage};
use tokio::io::{BufReader, copy_buf, sink};

use crate::args::{Args, Name};
use crate::child::{Child, say};
use crate::follower;
use crate::latencies::Summary;
use crate::node::Node;
use crate::pairs::{Kind, Pairs, Puts, Store, USER_BYTES};
use crate::policy::Policy;
use crate::process::{peak_rss, reset_peak, rss};
use crate::requirement::Requirement;
use crate::table::{Table, grouped, median, mib};
use crate::workspace::Workspace;

const MIB: f64 = (1 << 20) as f64;

pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    let pairs = (args.mib(1024) << 20) / USER_BYTES;
    let workspace = Workspace::new(args);
    let dir = workspace.join("node");
    let node = Node::open(&dir, Options::default(), Policy::QUIET).await;
    node.load(pairs, args.seed).await;
    // Purges the log, too.
    node.build().await;
    node.rest().await;
    println!("  {} pairs, state of {}", grouped(pairs as f64), mib(node.sizes.state_bytes()));
    let mut requirements = writers(args, &node, pairs).await;
    node.rest().await;
    node.close().await;
    requirements.extend(memory(args, &workspace, &dir).await);
    requirements
}

/// One side of a round.
struct Side {
    puts: Summary,
    held_up: Summary,
    built: u64,
}

impl Side {
    fn row(&self, name: String) -> [String; 7] {
        let ms = |value: f64| format!("{value:.2} ms");
        [
            name,
            ms(self.puts.quantile_ms(0.5)),
            ms(self.puts.quantile_ms(0.99)),
            ms(self.puts.max_ms()),
            self.built.to_string(),
            ms(self.held_up.sum_ms()),
            ms(self.held_up.max_ms()),
        ]
    }

    /// How long applying was held up for one snapshot.
    fn held_up_for_each(&self) -> f64 {
        self.held_up.sum_ms() / self.built.max(1) as f64
    }
}

async fn writers(args: &Args, node: &Node, pairs: u64) -> Vec<Requirement> {
    let time = Duration::from_secs(args.seconds(20));
    let mut puts = Puts::new(args.kind(Kind::Versioned), args.seed);
    let rate = node.max_rate(&mut puts, pairs, time).await / 2.0;
    println!("  puts at {}/s for {time:?} a side", grouped(rate));
    let mut table = Table::new([
        "append to applied",
        "p50",
        "p99",
        "longest",
        "built",
        "held up, sum",
        "held up, longest",
    ]);
    let (mut ratios, mut held_up) = (Vec::new(), 0.0_f64);
    for round in 1..=args.rounds {
        let without = side(node, &mut puts, pairs, rate, time, false).await;
        let with = side(node, &mut puts, pairs, rate, time, true).await;
        table.row(without.row(format!("round {round}: without")));
        table.row(with.row(format!("round {round}: building")));
        ratios.push(with.puts.quantile_ms(0.99) / without.puts.quantile_ms(0.99));
        held_up = held_up.max(with.held_up_for_each());
    }
    table.print();
    let ratio = median(&ratios);
    vec![
        Requirement::less("snapshots: applying held up for one, worst round", held_up, 100.0, "ms"),
        Requirement::less("snapshots: put p99 building / without", ratio, 1.5, ""),
    ]
}

async fn side(
    node: &Node,
    puts: &mut Puts,
    pairs: u64,
    rate: f64,
    time: Duration,
    is_building: bool,
) -> Side {
    let waits = &node.waits;
    drop((waits.put.take(), waits.held_up.take(), waits.build.take()));
    let ended = AtomicBool::new(!is_building);
    tokio::join!(
        async {
            node.put_at_rate(puts, pairs, rate, time).await;
            ended.store(true, Ordering::Relaxed);
        },
        async {
            while !ended.load(Ordering::Relaxed) {
                node.build().await;
            }
        }
    );
    Side { puts: waits.put.take(), held_up: waits.held_up.take(), built: waits.build.take().count() }
}

async fn memory(args: &Args, workspace: &Workspace, dir: &Path) -> Vec<Requirement> {
    let mut child = Child::start(Name::ChildBuilder, args, dir, 0, 0);
    let mut peaks = Vec::new();
    for what in ["build", "send"] {
        let baseline = child.said("baseline").await as u64;
        peaks.push((what, baseline, child.said("peak").await as u64, child.said("seconds").await));
    }
    child.end().await;

    let mut store: Store = Storage::open(dir, Pairs, Options::default()).await.unwrap();
    let snapshot = store.state.get_current_snapshot().await.unwrap().expect("it has been built");
    let installed = follower::send_to_new(snapshot, args, &workspace.join("follower")).await;
    tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
    let times = [installed.received_seconds, installed.verified_seconds, installed.installed_seconds];
    let seconds = times.iter().sum();
    peaks.push(("install", installed.baseline_rss, installed.peak_rss, seconds));
    let [received, verified, switched] = times.map(|time| format!("{time:.1} s"));
    println!(
        "  install over loopback TCP: received in {received}, verified in {verified}, installed in {switched}"
    );

    let mut table = Table::new(["resident memory", "baseline", "peak", "took"]);
    let mut requirements = Vec::new();
    for (what, baseline, peak, seconds) in peaks {
        table.row([what.to_owned(), mib(baseline), mib(peak), format!("{seconds:.1} s")]);
        let over = (peak as f64 - baseline as f64) / MIB;
        let what = format!("snapshots: memory above baseline, {what}");
        requirements.push(Requirement::less(what, over, 64.0, "MiB"));
    }
    table.print();
    requirements.push(Requirement::less("snapshots: a follower's install", seconds, 30.0, "s"));
    requirements
}

/// The child: builds a snapshot of the storage in `--dir`, then reads it as if it was sent.
pub(crate) async fn build(args: &Args) {
    let node = Node::open(args.dir.as_deref().unwrap(), Options::default(), Policy::QUIET).await;
    let mut baseline = rss();
    reset_peak();
    let started = std::time::Instant::now();
    node.build().await;
    say("baseline", baseline);
    say("peak", peak_rss());
    say("seconds", started.elapsed().as_secs_f64());

    baseline = rss();
    reset_peak();
    let started = std::time::Instant::now();
    let snapshot = node.snapshot().await.expect("it has been built");
    copy_buf(&mut BufReader::with_capacity(256 * 1024, snapshot.snapshot), &mut sink()).await.unwrap();
    say("baseline", baseline);
    say("peak", peak_rss());
    say("seconds", started.elapsed().as_secs_f64());
    node.close().await;
}
