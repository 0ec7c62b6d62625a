//! Disk work, as storage-leveldb reports it.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};
use storage_leveldb::{Db, Observer};

use super::registry::register;
use crate::node::DiskBytes;

/// From a cached write to a disk in trouble.
const DISK_BUCKETS_SECONDS: [f64; 13] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0];
/// One entry to the largest append.
const BATCH_BUCKETS_ENTRIES: [f64; 13] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];
/// A small state to one of many gigabytes.
const SNAPSHOT_BUCKETS_SECONDS: [f64; 9] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0];

/// Counts and times disk work.
pub struct StorageMetrics {
    synced: PerDb<Histogram>,
    stalled: PerDb<Histogram>,
    wrote: PerDb<IntCounter>,
    appended: Histogram,
    snapshot_built: Histogram,
    size: IntGaugeVec,
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
            register(registry, HistogramVec::new(opts, &["db"])?)
        };
        let one = |name, help, buckets: &[f64]| {
            register(
                registry,
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?,
            )
        };
        let synced =
            per_db("storage_fsync_duration_seconds", "Time of one sync to disk.", &DISK_BUCKETS_SECONDS)?;
        let stalled = per_db(
            "storage_stall_seconds",
            "Time a caller waited for storage to catch up.",
            &DISK_BUCKETS_SECONDS,
        )?;
        let wrote = Opts::new("storage_written_bytes_total", "Bytes handed to the operating system.");
        let wrote = register(registry, IntCounterVec::new(wrote, &["db"])?)?;
        let size = Opts::new("storage_size_bytes", "Bytes on disk.");
        Ok(Self {
            synced: PerDb::new(|db| synced.with_label_values(&[db])),
            stalled: PerDb::new(|db| stalled.with_label_values(&[db])),
            wrote: PerDb::new(|db| wrote.with_label_values(&[db])),
            appended: one(
                "storage_append_batch_entries",
                "Log entries made durable by one sync.",
                &BATCH_BUCKETS_ENTRIES,
            )?,
            snapshot_built: one(
                "snapshot_build_seconds",
                "Time to build one snapshot.",
                &SNAPSHOT_BUCKETS_SECONDS,
            )?,
            size: register(registry, IntGaugeVec::new(size, &["db"])?)?,
        })
    }

    /// Takes over the sizes at the time of a scrape.
    pub fn refresh(&self, on_disk: DiskBytes) {
        for (db, bytes) in
            [(Db::Log, on_disk.log), (Db::State, on_disk.state), (Db::Snapshot, on_disk.snapshot)]
        {
            self.size.with_label_values(&[db.as_str()]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
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

    fn stalled(&self, db: Db, _cause: &'static str, took: Duration) {
        self.stalled.get(db).observe(took.as_secs_f64());
    }

    fn snapshot_built(&self, took: Duration) {
        self.snapshot_built.observe(took.as_secs_f64());
    }
}
