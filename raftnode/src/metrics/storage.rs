//! Disk work, as storage-leveldb reports it.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use storage_leveldb::observer::{Db, Observer, StallCause};

use super::series::{register, signed};
use crate::standing::{DiskBytes, DiskSpace};

/// From a cached write to a disk in trouble.
pub(crate) const DISK_BUCKETS_SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// From a wait worth reporting to one that ends in timeouts.
const STALL_BUCKETS_SECONDS: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// One entry to the largest append.
const BATCH_BUCKETS_ENTRIES: [f64; 13] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];
/// A small state to one of many gigabytes.
const SNAPSHOT_BUCKETS_SECONDS: [f64; 9] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0];

/// Counts and times disk work.
pub(crate) struct StorageMetrics {
    synced: PerDb<Histogram>,
    stalled: HashMap<(Db, StallCause), Histogram>,
    wrote: PerDb<IntCounter>,
    appended: Histogram,
    applied: Histogram,
    snapshot_built: Histogram,
    size: IntGaugeVec,
    space: SpaceGauges,
    faulted: IntGauge,
}

/// The file system that holds the data directory.
struct SpaceGauges {
    free: IntGauge,
    size: IntGauge,
}

/// One series of a vector for each database, resolved once.
struct PerDb<T> {
    log: T,
    state: T,
    snapshot: T,
}

impl<T> PerDb<T> {
    fn new(of: impl Fn(&str) -> T) -> Self {
        Self { log: of(Db::Log.as_str()), state: of(Db::State.as_str()), snapshot: of(Db::Snapshot.as_str()) }
    }

    fn get(&self, db: Db) -> &T {
        match db {
            Db::Log => &self.log,
            Db::State => &self.state,
            Db::Snapshot => &self.snapshot,
        }
    }
}

impl StorageMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let per_db = |name, help, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let series = register(registry, HistogramVec::new(opts, &["db"])?)?;
            prometheus::Result::Ok(PerDb::new(|db| series.with_label_values(&[db])))
        };
        let one = |name, help, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(registry, Histogram::with_opts(opts)?)
        };
        let wrote = Opts::new("storage_written_bytes_total", "Bytes handed to the operating system.");
        let wrote = register(registry, IntCounterVec::new(wrote, &["db"])?)?;
        let size = Opts::new(
            "storage_size_bytes",
            "Bytes on disk. snapshot: tables of the state that are being written or received, or kept while they are sent.",
        );
        Ok(Self {
            synced: per_db(
                "storage_fsync_duration_seconds",
                "Time of one sync to disk.",
                &DISK_BUCKETS_SECONDS,
            )?,
            stalled: stalls(registry)?,
            wrote: PerDb::new(|db| wrote.with_label_values(&[db])),
            appended: one(
                "storage_append_batch_entries",
                "Log entries made durable by one sync.",
                &BATCH_BUCKETS_ENTRIES,
            )?,
            applied: one(
                "storage_apply_duration_seconds",
                "Time to apply one batch of committed entries to the state in memory.",
                &DISK_BUCKETS_SECONDS,
            )?,
            snapshot_built: one(
                "snapshot_build_seconds",
                "Time to build one snapshot: until what was applied is durable.",
                &SNAPSHOT_BUCKETS_SECONDS,
            )?,
            size: register(registry, IntGaugeVec::new(size, &["db"])?)?,
            space: SpaceGauges::new(registry)?,
            faulted: register(
                registry,
                IntGauge::new(
                    "storage_faulted",
                    "1 if the storage has failed and this node serves nothing until it is restarted, else 0.",
                )?,
            )?,
        })
    }

    /// Takes over the sizes at the time of a scrape.
    pub(crate) fn refresh_sizes(&self, on_disk: DiskBytes) {
        for (db, bytes) in
            [(Db::Log, on_disk.log), (Db::State, on_disk.state), (Db::Snapshot, on_disk.snapshot)]
        {
            self.size.with_label_values(&[db.as_str()]).set(signed(bytes));
        }
    }

    /// Takes over what the file system says.
    pub(crate) fn refresh_space(&self, space: DiskSpace) {
        self.space.free.set(signed(space.free));
        self.space.size.set(signed(space.size));
    }

    /// Takes over whether the storage has failed.
    pub(crate) fn refresh_faulted(&self, faulted: bool) {
        self.faulted.set(faulted.into());
    }

    /// The distribution of sync times of one database since the start.
    #[must_use]
    pub(crate) fn syncs(&self, db: Db) -> &Histogram {
        self.synced.get(db)
    }

    /// The distribution of apply times since the start.
    #[must_use]
    pub(crate) fn applies(&self) -> &Histogram {
        &self.applied
    }
}

/// One series for each cause, so that all are there before the first stall.
fn stalls(registry: &Registry) -> prometheus::Result<HashMap<(Db, StallCause), Histogram>> {
    let help = "Time a caller waited 10 ms or more for storage, by what for. log, a write: sync, the disk; engine, LevelDB's \
                compaction or the processor; reader, a page being read. state, applying: flush, memtables being written; \
                compaction, too many tables.";
    let opts = HistogramOpts::new("storage_stall_seconds", help).buckets(STALL_BUCKETS_SECONDS.to_vec());
    let series = register(registry, HistogramVec::new(opts, &["db", "cause"])?)?;
    let of = |(db, cause): (Db, StallCause)| {
        ((db, cause), series.with_label_values(&[db.as_str(), cause.as_str()]))
    };
    Ok(StallCause::ALL.into_iter().map(of).collect())
}

impl SpaceGauges {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let free = "Bytes this node can still write on the file system of its data directory.";
        let size = "Size of the file system of the data directory.";
        Ok(Self {
            free: register(registry, IntGauge::new("storage_disk_free_bytes", free)?)?,
            size: register(registry, IntGauge::new("storage_disk_size_bytes", size)?)?,
        })
    }
}

impl Observer for StorageMetrics {
    fn synced(&self, db: Db, took: Duration) {
        self.synced.get(db).observe(took.as_secs_f64());
    }

    fn wrote(&self, db: Db, bytes: u64) {
        self.wrote.get(db).inc_by(bytes);
    }

    #[allow(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 entries")]
    fn appended(&self, entries: u64) {
        self.appended.observe(entries as f64);
    }

    fn applied(&self, _entries: u64, took: Duration) {
        self.applied.observe(took.as_secs_f64());
    }

    fn stalled(&self, db: Db, cause: StallCause, took: Duration) {
        if let Some(stalls) = self.stalled.get(&(db, cause)) {
            stalls.observe(took.as_secs_f64());
        }
    }

    fn snapshot_built(&self, took: Duration) {
        self.snapshot_built.observe(took.as_secs_f64());
    }
}
