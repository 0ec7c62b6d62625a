//! `bytes`: what reaches the disk for each put, by the operating system's count.
//!
//! The operating system counts a page of 4 KiB each time it becomes dirty, and not what the file
//! system's journal writes. Above it stands what the storage says it wrote, and what a counting
//! disk saw, by the kind of file and the thread that made it: in a LevelDB `*.log` are write-ahead
//! logs, `*.ldb` tables (flushes write about as much as the write-ahead log, compactions the rest).

use std::sync::Arc;

use storage_leveldb::Options;
use storage_leveldb::observer::Db;

use crate::args::Args;
use crate::counting_disk::CountingDisk;
use crate::counts::{Counts, DBS};
use crate::node::Node;
use crate::pairs::{Kind, Puts, USER_BYTES};
use crate::policy::Policy;
use crate::process;
use crate::requirement::Requirement;
use crate::table::{Table, grouped, mib};
use crate::workspace::Workspace;

pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    let pairs = args.pairs();
    let count = args.puts(args.pairs());
    let workspace = Workspace::new(args);
    let dir = workspace.join("node");
    let (counts, disk) = (Counts::new(), CountingDisk::new(&dir));
    let mut options = Options::default().with_disk(Arc::new(disk.clone()));
    options.observer = counts.clone();
    let before = process::disk_writes();
    let node = Node::open(&dir, options, Policy::NODE).await;
    let mut puts = Puts::new(args.kind(Kind::Blind), args.seed);
    println!("  {} puts over as many as {} keys", grouped(count as f64), grouped(pairs as f64));
    node.put_any(&mut puts, pairs, count).await;
    let sizes = [node.sizes.log_bytes(), node.sizes.state_bytes(), node.sizes.snapshot_bytes()];
    node.close().await;
    let after = process::disk_writes();

    let user = count * USER_BYTES;
    let ratio = |bytes: u64| format!("{:.2}", bytes as f64 / user as f64);
    let mut table = Table::new(["counted by", "bytes", "x user bytes", "syncs"]);
    let none = String::new;
    table.row(["user: keys and values".to_owned(), mib(user), "1.00".to_owned(), none()]);
    for db in DBS {
        let name = format!("storage: {}", db.as_str());
        table.row([name, mib(counts.wrote(db)), ratio(counts.wrote(db)), counts.syncs(db).to_string()]);
    }
    let (written, cancelled) = (after.0 - before.0, after.1 - before.1);
    let without = counts.wrote(Db::Log) + counts.wrote(Db::State);
    table.row(["storage: log and state".to_owned(), mib(without), ratio(without), none()]);
    table.row(["system: write_bytes".to_owned(), mib(written), ratio(written), none()]);
    table.row(["system: of that cancelled".to_owned(), mib(cancelled), ratio(cancelled), none()]);
    table.print();
    disk.print(user);
    println!(
        "  {} snapshots; on disk before the end: log {}, state {}, beside it {}",
        counts.snapshots(),
        mib(sizes[0]),
        mib(sizes[1]),
        mib(sizes[2])
    );
    let measured = written as f64 / user as f64;
    vec![Requirement::less("bytes: written to disk, log + state + snapshots", measured, 8.0, "x user bytes")]
}
