//! `gets`: point reads per second by plain threads, without and with writes going on at half of the
//! maximum rate.
//!
//! Warm: every file has been read once, so that it is in the page cache. Cold: just before, every
//! file was synced and the page cache told to forget it (`posix_fadvise`); what the storage itself
//! keeps in memory stays, and pages that are read during the measurement are warm from then on.

use std::path::Path;
use std::time::Duration;

use storage_leveldb::Options;

use crate::args::Args;
use crate::node::Node;
use crate::pairs::{Kind, Puts};
use crate::policy::Policy;
use crate::process::{drop_page_cache, fill_page_cache};
use crate::readers::{Reads, Sought, read_fast};
use crate::requirement::Requirement;
use crate::table::{Table, grouped, median};
use crate::workspace::Workspace;

const THREADS: [usize; 3] = [1, 4, 16];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    WarmHits,
    WarmMisses,
    Cold,
}

const CASES: [Case; 3] = [Case::WarmHits, Case::WarmMisses, Case::Cold];

/// Reads per second of one case and number of threads, by round.
struct Series {
    case: Case,
    threads: usize,
    idle: Vec<f64>,
    writing: Vec<f64>,
}

struct Bench<'a> {
    args: &'a Args,
    node: &'a Node,
    dir: &'a Path,
    pairs: u64,
    time: Duration,
    rate: f64,
}

pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    let (pairs, time) = (args.pairs(), Duration::from_secs(args.seconds(2)));
    let workspace = Workspace::new(args);
    let dir = workspace.join("node");
    let node = Node::open(&dir, Options::default(), Policy::NODE).await;
    let mut puts = Puts::new(args.kind(Kind::Versioned), args.seed);
    node.load(pairs, args.seed).await;
    let max_rate = node.max_rate(&mut puts, pairs, 3 * time).await;
    let rate = max_rate / 2.0;
    println!("  {} puts/s at most; 'writing' means {}/s, snapshots on", grouped(max_rate), grouped(rate));

    let bench = Bench { args, node: &node, dir: &dir, pairs, time, rate };
    let mut series = Vec::new();
    for case in CASES {
        for threads in args.threads(&THREADS) {
            series.push(bench.series(case, threads, &mut puts).await);
        }
    }
    node.close().await;
    print(&series);
    let best = |case: Case| {
        let rates = series.iter().filter(|series| series.case == case).map(|series| median(&series.idle));
        rates.fold(0.0, f64::max)
    };
    vec![
        Requirement::at_least("gets: warm hits, best of the threads", best(Case::WarmHits), 200_000.0, "/s"),
        Requirement::at_least(
            "gets: warm misses, best of the threads",
            best(Case::WarmMisses),
            200_000.0,
            "/s",
        ),
    ]
}

impl Bench<'_> {
    /// Rounds of the two sides, one right after the other.
    async fn series(&self, case: Case, threads: usize, puts: &mut Puts) -> Series {
        let mut series = Series { case, threads, idle: Vec::new(), writing: Vec::new() };
        let mut table = Table::new(["", "gets/s", "p50", "p99", "longest"]);
        let mut row = |name: String, reads: &Reads| {
            let us = |quantile| format!("{:.0} us", reads.latencies.quantile_ms(quantile) * 1e3);
            table.row([name, grouped(reads.per_second), us(0.5), us(0.99), us(1.0)]);
        };
        for round in 1..=self.args.rounds {
            let name = |side| format!("{case:?}, {threads} threads, round {round}: {side}");
            // Who goes first alternates: what one side has read is warmer for the other.
            for is_writing in [round % 2 == 0, round % 2 == 1] {
                self.prepare(case).await;
                if is_writing {
                    let reads = self.read_while_writing(case, threads, puts).await;
                    row(name("writing"), &reads);
                    series.writing.push(reads.per_second);
                } else {
                    let reads = self.read(case, threads, puts.random.number()).await;
                    row(name("idle"), &reads);
                    series.idle.push(reads.per_second);
                }
            }
        }
        table.print();
        series
    }

    async fn read_while_writing(&self, case: Case, threads: usize, puts: &mut Puts) -> Reads {
        // Writes begin before the reads and end after them.
        let margin = self.time / 8;
        let seed = puts.random.number();
        let read = async {
            tokio::time::sleep(margin / 2).await;
            self.read(case, threads, seed).await
        };
        tokio::join!(read, self.node.put_at_rate(puts, self.pairs, self.rate, self.time + margin)).0
    }

    async fn prepare(&self, case: Case) {
        let dir = self.dir.to_owned();
        let prepare = move || match case {
            Case::Cold => drop_page_cache(&dir),
            Case::WarmHits | Case::WarmMisses => fill_page_cache(&dir),
        };
        tokio::task::spawn_blocking(prepare).await.unwrap();
    }

    async fn read(&self, case: Case, threads: usize, seed: u64) -> Reads {
        let sought = match case {
            Case::WarmHits | Case::Cold => Sought::Hits(self.pairs),
            Case::WarmMisses => Sought::Misses(self.pairs),
        };
        read_fast(&self.node.reader, threads, sought, seed, self.time).await
    }
}

fn print(series: &[Series]) {
    let mut table = Table::new(["median of the rounds", "threads", "idle", "writing", "writing / idle"]);
    for Series { case, threads, idle, writing } in series {
        let ratios: Vec<f64> = writing.iter().zip(idle).map(|(writing, idle)| writing / idle).collect();
        table.row([
            format!("{case:?}"),
            threads.to_string(),
            format!("{}/s", grouped(median(idle))),
            format!("{}/s", grouped(median(writing))),
            format!("{:.2}", median(&ratios)),
        ]);
    }
    table.print();
}
