//! An observer that counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use storage_leveldb::observer::{Db, Observer, StallCause};

use crate::table::Table;

pub(crate) const DBS: [Db; 3] = [Db::Log, Db::State, Db::Snapshot];

/// Waits of one cause.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stalls {
    pub(crate) count: u64,
    pub(crate) sum: Duration,
    pub(crate) longest: Duration,
}

/// What the storage reported.
#[derive(Default)]
pub(crate) struct Counts {
    syncs: [AtomicU64; 3],
    wrote: [AtomicU64; 3],
    appended: AtomicU64,
    snapshots: AtomicU64,
    stalls: Mutex<BTreeMap<(&'static str, &'static str), Stalls>>,
}

fn place(db: Db) -> usize {
    match db {
        Db::Log => 0,
        Db::State => 1,
        Db::Snapshot => 2,
    }
}

impl Counts {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn syncs(&self, db: Db) -> u64 {
        self.syncs[place(db)].load(Ordering::Relaxed)
    }

    pub(crate) fn wrote(&self, db: Db) -> u64 {
        self.wrote[place(db)].load(Ordering::Relaxed)
    }

    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshots(&self) -> u64 {
        self.snapshots.load(Ordering::Relaxed)
    }

    /// Waits since the last call, by database and cause.
    pub(crate) fn take_stalls(&self) -> BTreeMap<(&'static str, &'static str), Stalls> {
        std::mem::take(&mut self.stalls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The waits that the storage itself reported since the last call.
    pub(crate) fn print_stalls(&self) {
        let mut table = Table::new(["stalls that the storage reported", "count", "sum", "longest"]);
        for ((db, cause), stalls) in self.take_stalls() {
            let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
            table.row([
                format!("{db}: {cause}"),
                stalls.count.to_string(),
                ms(stalls.sum),
                ms(stalls.longest),
            ]);
        }
        table.print();
    }
}

impl Observer for Counts {
    fn synced(&self, db: Db, _: Duration) {
        self.syncs[place(db)].fetch_add(1, Ordering::Relaxed);
    }

    fn wrote(&self, db: Db, bytes: u64) {
        self.wrote[place(db)].fetch_add(bytes, Ordering::Relaxed);
    }

    fn appended(&self, entries: u64) {
        self.appended.fetch_add(entries, Ordering::Relaxed);
    }

    fn stalled(&self, db: Db, cause: StallCause, took: Duration) {
        let mut stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let stalls = stalls.entry((db.as_str(), cause.as_str())).or_default();
        stalls.count += 1;
        stalls.sum += took;
        stalls.longest = stalls.longest.max(took);
    }

    fn snapshot_built(&self, _: Duration) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }
}
