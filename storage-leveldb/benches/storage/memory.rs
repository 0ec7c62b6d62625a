//! `memory`: resident memory of a storage that is open and idle, and its peak under gets and puts,
//! in a process of its own that has not loaded the pairs.

use std::time::Duration;

use storage_leveldb::Options;

use crate::args::{Args, Name};
use crate::bounds;
use crate::child::{Child, say};
use crate::node::Node;
use crate::pairs::{Kind, Puts};
use crate::policy::Policy;
use crate::process::{peak_rss, reset_peak, rss};
use crate::readers::{Sought, read_fast};
use crate::requirement::Requirement;
use crate::table::{Table, grouped, mib};
use crate::workspace::Workspace;

const MIB: f64 = (1 << 20) as f64;
const READING_THREADS: usize = 4;
const IDLE: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    let pairs = args.pairs();
    let workspace = Workspace::new(args);
    let dir = workspace.join("node");
    let node = Node::open(&dir, Options::default(), Policy::NODE).await;
    node.load(pairs, args.seed).await;
    node.close().await;

    let mut child = Child::start(Name::ChildMemory, args, &dir, pairs, args.seconds(60));
    let mut table = Table::new(["resident memory", ""]);
    let process = child.said("process").await;
    let idle = child.said("idle").await;
    table.row(["process before it opens the storage".to_owned(), mib(process as u64)]);
    table.row([format!("storage of {} pairs open and idle", grouped(pairs as f64)), mib(idle as u64)]);
    let gets = child.said("gets").await;
    let puts = child.said("puts").await;
    let loaded = child.said("peak").await;
    child.end().await;
    let what = format!("peak under {} gets/s and {} puts/s", grouped(gets), grouped(puts));
    table.row([what, mib(loaded as u64)]);
    table.print();
    let bound = bounds::print(&Options::default());
    vec![
        Requirement::less("memory: idle", idle / MIB, 30.0, "MiB"),
        Requirement::less("memory: loaded, bound and a fifth", loaded / MIB, bound as f64 * 1.2 / MIB, "MiB"),
    ]
}

/// The child: opens the storage in `--dir` and says how much memory is resident, then puts and
/// gets.
pub(crate) async fn idle_and_loaded(args: &Args) {
    let (pairs, time) = (args.pairs(), Duration::from_secs(args.seconds(60)));
    say("process", rss());
    let node = Node::open(args.dir.as_deref().unwrap(), Options::default(), Policy::NODE).await;
    // As kvnode does.
    malloc_trim::malloc_trim();
    tokio::time::sleep(IDLE).await;
    say("idle", rss());
    reset_peak();
    let mut puts = Puts::new(Kind::Versioned, args.seed);
    let (reads, puts) = tokio::join!(
        read_fast(&node.reader, READING_THREADS, Sought::Hits(pairs), args.seed, time),
        node.max_rate(&mut puts, pairs, time)
    );
    say("gets", reads.per_second);
    say("puts", puts);
    say("peak", peak_rss());
    node.close().await;
}
