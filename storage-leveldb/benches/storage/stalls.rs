//! `stalls`: the longest waits while a loaded node works at half of its maximum rate.
//!
//! Log and state are those of one storage, as in a node, and what is appended is what is applied.
//! Snapshots and purges are on, a vote is saved five times a second, and a thread reads at a rate.
//! All times count from when the operation was due. A thread on each processor that only sleeps
//! shows when the processor itself was away.

use std::time::Duration;

use storage_leveldb::Options;

use crate::args::Args;
use crate::counts::Counts;
use crate::latencies::HEADER;
use crate::node::Node;
use crate::pairs::{Kind, Puts};
use crate::policy::Policy;
use crate::readers::PacedReader;
use crate::requirement::Requirement;
use crate::sleeper::Sleepers;
use crate::table::{Table, grouped};
use crate::workspace::Workspace;

const GETS_PER_SECOND: u32 = 1000;

pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    let (pairs, time) = (args.pairs(), Duration::from_secs(args.seconds(120)));
    let workspace = Workspace::new(args);
    let counts = Counts::new();
    let mut options = Options::default();
    options.observer = counts.clone();
    let node = Node::open(&workspace.join("node"), options, Policy::ELECTING).await;
    let mut puts = Puts::new(args.kind(Kind::Versioned), args.seed);
    node.load(pairs, args.seed).await;
    let max_rate = node.max_rate(&mut puts, pairs, time / 6).await;
    let rate = max_rate / 2.0;
    println!("  {} puts/s at most; now {}/s for {time:?}", grouped(max_rate), grouped(rate));

    let waits = node.waits.clone();
    for latencies in [&waits.append, &waits.vote, &waits.apply, &waits.put, &waits.held_up, &waits.build] {
        drop(latencies.take());
    }
    drop(counts.take_stalls());
    let reader = PacedReader::start(&node.reader, pairs, GETS_PER_SECOND, args.seed);
    let sleepers = Sleepers::start();
    node.put_at_rate(&mut puts, pairs, rate, time).await;
    let (late, stolen) = sleepers.stop();
    let gets = reader.stop().await;
    node.close().await;

    let (append, vote, apply) = (waits.append.take(), waits.vote.take(), waits.apply.take());
    let mut table = Table::new(HEADER);
    table.row(append.cells("append, per put"));
    table.row(vote.cells("vote"));
    table.row(gets.cells(&format!("get, {GETS_PER_SECOND}/s")));
    table.row(apply.cells("apply, per batch"));
    table.row(waits.put.take().cells("append to applied"));
    table.row(waits.held_up.take().cells("applying held up"));
    table.row(waits.build.take().cells("building a snapshot"));
    for (processor, late) in late {
        table.row(late.cells(&format!("woken late on processor {processor}")));
    }
    table.print();
    println!("  the host took {stolen:.2?} of processor time away meanwhile");
    counts.print_stalls();
    vec![
        Requirement::less("stalls: longest append", append.max_ms(), 50.0, "ms"),
        Requirement::less("stalls: longest vote", vote.max_ms(), 50.0, "ms"),
        Requirement::less("stalls: longest get", gets.max_ms(), 50.0, "ms"),
        Requirement::less("stalls: longest apply", apply.max_ms(), 250.0, "ms"),
    ]
}
