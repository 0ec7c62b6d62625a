//! `applies`: applies per second on a large store against an empty one.
//!
//! State only, no log and no snapshots. Both sides put the same number of pairs, drawn from the
//! same keys; an empty store begins each time in a fresh directory. Before every measurement there
//! is a pause, so that work that one side leaves to the background does not fall into the other;
//! CPU time includes the pause after it. Puts that want to have what they replace are measured,
//! too, without a requirement.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::stream;
use openraft::storage::RaftStateMachine;
use storage_leveldb::{Options, Storage};

use crate::args::Args;
use crate::load::Progress;
use crate::pairs::{Kind, Pairs, Put, Puts, Store, entry};
use crate::process;
use crate::requirement::Requirement;
use crate::table::{Table, grouped, median};
use crate::workspace::Workspace;

const AT_ONCE: u64 = 64;
const LOADED_AT_ONCE: u64 = 1024;
const PAUSE: Duration = Duration::from_secs(2);

/// A state machine that is given entries directly.
struct Applier {
    store: Store,
    next: u64,
}

/// One side of a round.
struct Measured {
    per_second: f64,
    cpu_micros: f64,
}

impl Applier {
    async fn open(dir: &Path) -> Self {
        Self { store: Storage::open(dir, Pairs, Options::default()).await.unwrap(), next: 1 }
    }

    async fn apply(&mut self, puts: impl Iterator<Item = Put>) {
        let entries: Vec<_> =
            (self.next..).zip(puts).map(|(index, put)| Ok((entry(index, put), None))).collect();
        self.next += entries.len() as u64;
        self.store.state.apply(stream::iter(entries)).await.unwrap();
    }

    /// Puts the pairs from `first` up to `end`, once each.
    async fn load(&mut self, puts: &mut Puts, first: u64, end: u64) {
        let mut progress = Progress::new("loading pairs", end - first);
        for at in (first..end).step_by(LOADED_AT_ONCE as usize) {
            let until = end.min(at + LOADED_AT_ONCE);
            self.apply((at..until).map(|number| puts.of(number))).await;
            progress.at(until - first);
        }
    }

    async fn measure(&mut self, puts: &mut Puts, pairs: u64, count: u64) -> Measured {
        tokio::time::sleep(PAUSE).await;
        let (cpu, started) = (process::cpu_time(), Instant::now());
        for _ in 0..count / AT_ONCE {
            self.apply((0..AT_ONCE).map(|_| puts.any(pairs))).await;
        }
        let count = (count / AT_ONCE * AT_ONCE) as f64;
        let per_second = count / started.elapsed().as_secs_f64();
        tokio::time::sleep(PAUSE).await;
        Measured { per_second, cpu_micros: (process::cpu_time() - cpu).as_secs_f64() * 1e6 / count }
    }
}

async fn on_empty(workspace: &Workspace, puts: &mut Puts, pairs: u64, count: u64) -> Measured {
    let dir = workspace.join("empty");
    let mut empty = Applier::open(&dir).await;
    let measured = empty.measure(puts, pairs, count).await;
    tokio::task::spawn_blocking(move || drop(empty)).await.unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    measured
}

pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    let count = args.puts(300_000);
    let sizes = match args.pairs_are_given() {
        true => vec![(args.pairs(), 0.8)],
        false => vec![(args.pairs(), 0.8), (2 * args.pairs(), 0.7)],
    };
    let workspace = Workspace::new(args);
    let mut large = Applier::open(&workspace.join("large")).await;
    let mut requirements = Vec::new();
    let mut loaded = 0;
    for (pairs, limit) in sizes {
        large.load(&mut Puts::new(Kind::Blind, args.seed), loaded, pairs).await;
        loaded = pairs;
        for kind in [Kind::Blind, Kind::Versioned, Kind::Returning] {
            let ratio = rounds(args, &workspace, &mut large, kind, pairs, count).await;
            // What must be read is read from a disk's pages on the one side, and is not there on
            // the other.
            if kind == Kind::Returning {
                println!("  no requirement: on {} pairs / empty {ratio:.2}\n", grouped(pairs as f64));
                continue;
            }
            let what = format!("applies: {kind:?} on {} pairs / empty", grouped(pairs as f64));
            requirements.push(Requirement::at_least(what, ratio, limit, ""));
        }
    }
    requirements
}

/// The median ratio of the rounds.
async fn rounds(
    args: &Args,
    workspace: &Workspace,
    large: &mut Applier,
    kind: Kind,
    pairs: u64,
    count: u64,
) -> f64 {
    println!(
        "  {kind:?}: {} puts a side in batches of {AT_ONCE}; 'empty' begins in a fresh directory and draws from the same \
         {} keys",
        grouped(count as f64),
        grouped(pairs as f64)
    );
    let mut table =
        Table::new(["round", "empty", "large", "ratio", "CPU per put, empty", "CPU, large", "CPU ratio"]);
    let mut ratios = Vec::new();
    for round in 1..=args.rounds {
        // The same puts on both sides; who goes first alternates.
        let puts = Puts::new(kind, args.seed + u64::from(round));
        let (empty, full) = if round % 2 == 1 {
            let empty = on_empty(workspace, &mut puts.clone(), pairs, count).await;
            (empty, large.measure(&mut puts.clone(), pairs, count).await)
        } else {
            let full = large.measure(&mut puts.clone(), pairs, count).await;
            (on_empty(workspace, &mut puts.clone(), pairs, count).await, full)
        };
        let ratio = full.per_second / empty.per_second;
        ratios.push(ratio);
        table.row([
            round.to_string(),
            format!("{}/s", grouped(empty.per_second)),
            format!("{}/s", grouped(full.per_second)),
            format!("{ratio:.2}"),
            format!("{:.1} us", empty.cpu_micros),
            format!("{:.1} us", full.cpu_micros),
            format!("{:.2}", empty.cpu_micros / full.cpu_micros),
        ]);
    }
    table.print();
    median(&ratios)
}
