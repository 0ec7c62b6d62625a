//! What appending and applying cost, in CPU time and by the clock.
//!
//! `cargo run --release -p storage-leveldb --example throughput` prints a line per round; rounds with and without
//! the read cache alternate, so that a change of the machine's speed shows in both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first error"
)]

use std::time::{Duration, Instant};

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftLeaderId;
use openraft::{BasicNode, LogId, RaftTypeConfig};
use storage_leveldb::{Application, Options, Storage, StorageError, Transaction, View};

const ROUNDS: usize = 3;
const ENTRIES: u64 = 60_000;
const ENTRIES_AT_ONCE: u64 = 64;
const KEYS: u64 = 20_000;
const VALUE_BYTES: usize = 256;

openraft::declare_raft_types!(
    pub Types:
        D = String,
        R = u64,
        NodeId = u64,
        Node = BasicNode,
);

/// Reads a pair and overwrites it, as a versioned store does.
struct Overwrite;

impl Application<Types> for Overwrite {
    type Query = ();
    type Answer = ();

    fn apply(&self, txn: &mut Transaction<'_>, index: u64, value: &String) -> Result<u64, StorageError> {
        // A multiplicative hash spreads the keys.
        let key = (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS).to_be_bytes();
        let before = txn.get(&key)?;
        txn.put(&key, value.as_bytes());
        Ok(before.map_or(0, |value| value.len() as u64))
    }

    fn query(&self, _: &mut View<'_>, (): ()) -> Result<(), StorageError> {
        Ok(())
    }
}

fn entry(index: u64) -> <Types as RaftTypeConfig>::Entry {
    let leader = <Types as RaftTypeConfig>::LeaderId::new(1, 1).to_committed();
    RaftEntry::new_normal(LogId::new(leader, index), "v".repeat(VALUE_BYTES))
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}

async fn round(state_cache_bytes: usize) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { state_cache_bytes, ..Options::default() };
    let mut store: Storage<Types, Overwrite> = Storage::open(dir.path(), Overwrite, options).await.unwrap();

    let (cpu, clock) = (cpu_time(), Instant::now());
    for first in (1..=ENTRIES).step_by(ENTRIES_AT_ONCE as usize) {
        let (tx, rx) = Types::oneshot();
        store.log.append((first..first + ENTRIES_AT_ONCE).map(entry), IOFlushed::signal(tx)).await.unwrap();
        rx.await.unwrap().unwrap();
    }
    let (append_cpu, append_clock) = (cpu_time() - cpu, clock.elapsed());

    let (cpu, clock) = (cpu_time(), Instant::now());
    for first in (1..=ENTRIES).step_by(ENTRIES_AT_ONCE as usize) {
        let entries: Vec<_> =
            (first..first + ENTRIES_AT_ONCE).map(|index| Ok((entry(index), None))).collect();
        store.state.apply(futures_util::stream::iter(entries)).await.unwrap();
    }
    let (apply_cpu, apply_clock) = (cpu_time() - cpu, clock.elapsed());

    let each = |time: Duration| time.as_secs_f64() * 1e6 / ENTRIES as f64;
    println!(
        "cache {:>2} MiB   append {:>5.1} us CPU, {:>5.1} us   apply {:>5.1} us CPU, {:>5.1} us   per entry",
        state_cache_bytes >> 20,
        each(append_cpu),
        each(append_clock),
        each(apply_cpu),
        each(apply_clock),
    );
}

#[tokio::main]
async fn main() {
    for _ in 0..ROUNDS {
        round(0).await;
        round(32 << 20).await;
    }
}
