//! `reopen`: the log's size after many puts, and how long a storage takes until it is ready again,
//! after it was closed and after `kill -9`.
//!
//! Ready: `Storage::open` has returned, and the entries of the log that the state had not applied
//! are applied.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use storage_leveldb::{Options, Storage};

use crate::args::{Args, Name};
use crate::child::{Child, say};
use crate::node::Node;
use crate::pairs::{Kind, Pairs, Puts, Store, USER_BYTES};
use crate::policy::Policy;
use crate::process::drop_page_cache;
use crate::requirement::Requirement;
use crate::table::{Table, grouped, mib};
use crate::watched_disk::WatchedDisk;
use crate::worker;
use crate::workspace::Workspace;

const MIB: f64 = (1 << 20) as f64;
/// Most that a child puts before it is killed.
const CHILD_SECONDS: u64 = 300;

/// One opening.
struct Opened {
    log: Duration,
    open: Duration,
    replay: Duration,
    replayed: u64,
}

impl Opened {
    async fn measure(dir: &Path) -> Self {
        let disk = WatchedDisk::new(dir.join("log"));
        let mut options = Options::default().with_disk(Arc::new(disk.clone()));
        options.must_exist = true;
        let started = Instant::now();
        let mut store: Store = Storage::open(dir, Pairs, options).await.unwrap();
        let (open, log) = (started.elapsed(), disk.span());
        let started = Instant::now();
        let replayed = worker::replay(&mut store).await;
        let replay = started.elapsed();
        tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
        Self { log, open, replay, replayed }
    }

    fn ready(&self) -> f64 {
        (self.open + self.replay).as_secs_f64()
    }

    fn row(&self, name: String) -> [String; 6] {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let entries = grouped(self.replayed as f64);
        let ready = format!("{:.2} s", self.ready());
        [name, seconds(self.log), seconds(self.open), entries, seconds(self.replay), ready]
    }
}

pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    let pairs = (args.mib(1024) << 20) / USER_BYTES;
    let count = args.puts(10_000_000);
    let workspace = Workspace::new(args);
    let dir = workspace.join("node");
    let node = Node::open(&dir, Options::default(), Policy::NODE).await;
    println!("  {} puts over {} keys", grouped(count as f64), grouped(pairs as f64));
    node.put_any(&mut Puts::new(args.kind(Kind::Blind), args.seed), pairs, count).await;
    let at_the_end = node.sizes.log_bytes();
    node.rest().await;
    let sizes = node.sizes.clone();
    println!(
        "  log {} right after the last put, {} a little later; state {}, snapshot {}",
        mib(at_the_end),
        mib(sizes.log_bytes()),
        mib(sizes.state_bytes()),
        mib(sizes.snapshot_bytes())
    );
    node.close().await;

    let mut table = Table::new(["opened after", "log's part", "open", "replayed", "replay", "ready"]);
    let (mut closed, mut killed, mut log) = (0.0_f64, 0.0_f64, 0.0_f64);
    for round in 1..=args.rounds {
        let opened = Opened::measure(&dir).await;
        (closed, log) = (closed.max(opened.ready()), log.max(opened.log.as_secs_f64()));
        table.row(opened.row(format!("round {round}: closing")));
        drop_page_cache(&dir);
        table.row(Opened::measure(&dir).await.row(format!("round {round}: closing, cold page cache")));

        let mut child = Child::start(Name::ChildWriter, args, &dir, pairs, CHILD_SECONDS);
        child.said("putting").await;
        // Not at the same moment of a snapshot each time.
        tokio::time::sleep(Duration::from_secs(args.seconds(10)) + Duration::from_millis(777) * round).await;
        child.kill().await;
        let opened = Opened::measure(&dir).await;
        (killed, log) = (killed.max(opened.ready()), log.max(opened.log.as_secs_f64()));
        table.row(opened.row(format!("round {round}: kill -9")));
    }
    table.print();
    let log_mib = at_the_end as f64 / MIB;
    vec![
        Requirement::less("reopen: log directory", log_mib, 256.0, "MiB"),
        Requirement::less("reopen: opening the log, longest", log, 2.0, "s"),
        Requirement::less("reopen: ready after closing, longest", closed, 5.0, "s"),
        Requirement::less("reopen: ready after kill -9, longest", killed, 10.0, "s"),
    ]
}

/// The child: puts into the storage in `--dir` as fast as it can, until it is killed.
pub(crate) async fn write(args: &Args) {
    let node = Node::open(args.dir.as_deref().unwrap(), Options::default(), Policy::NODE).await;
    say("putting", 1);
    let mut puts = Puts::new(Kind::Blind, args.seed + 1);
    node.max_rate(&mut puts, args.pairs(), Duration::from_secs(args.seconds(CHILD_SECONDS))).await;
}
