//! The log's entries lie in entry blocks on disk, and where a block ends is chance: whatever is
//! appended, truncated, purged and opened again, what is read are the entries that count.
//!
//! How it could go wrong: a truncation within a block comes undone, at once or after a restart; an
//! earlier end of the log hides what was appended over it; a segment that is stored as a table, or
//! purged in part, loses the entries of a block that begins before it; a reader that begins within
//! a block finds nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::support::{Register, Set, Store, Types, changed, log_id, open};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::{RaftLogReader, RaftSnapshotBuilder, RaftTypeConfig, Vote};
use storage_leveldb::Options;
use storage_leveldb::testing::disk::Disk;
use storage_leveldb::testing::{Random, SimDisk};

type Entry = <Types as RaftTypeConfig>::Entry;

const DIR: &str = "node";
/// Of every run of the tests,
const FEW_SEEDS: u64 = 10;
/// and in CI.
const SEEDS: u64 = 40;
const STEPS: u64 = 60;

fn options(disk: &SimDisk) -> Options {
    // Nothing durable stays in memory, and a segment is soon full.
    changed(Options::default().with_disk(Arc::new(disk.clone())), |options| {
        options.tail_bytes = 0;
        options.log_segment_bytes = 4000;
    })
}

/// What the log must have.
struct Model {
    random: Random,
    term: u64,
    entries: BTreeMap<u64, Entry>,
    /// The index behind the last entry.
    end: u64,
    /// The index behind the last one that is applied; what is purged is before it.
    applied: u64,
    purged: u64,
}

impl Model {
    fn entry(&mut self, index: u64) -> Entry {
        // Now and then one that leaves no room in a block.
        let bytes = if self.random.one_in(100) { 70_000 } else { self.random.position(60) };
        let value = format!("{}-{}", self.term, "v".repeat(bytes));
        Entry::new_normal(log_id(self.term, index), Set { key: format!("k{index}"), value })
    }

    async fn append(&mut self, store: &mut Store) {
        let count = if self.random.one_in(8) { 700 } else { 1 + self.random.below(30) };
        let entries: Vec<Entry> = (self.end..self.end + count).map(|index| self.entry(index)).collect();
        self.end += count;
        self.entries.extend(entries.iter().map(|entry| (entry.index(), entry.clone())));
        store.log.blocking_append(entries).await.unwrap();
    }

    async fn truncate(&mut self, store: &mut Store) {
        let from = self.applied + self.random.below(self.end - self.applied + 1);
        self.entries.split_off(&from);
        let last = from.checked_sub(1).and_then(|last| self.entries.get(&last)).map(RaftEntry::log_id);
        let last = last.or((from > 0).then(|| log_id(self.term, from - 1)));
        if from < self.end && (from == 0 || self.entries.contains_key(&(from - 1))) {
            store.log.truncate_after(last).await.unwrap();
            self.end = from;
            self.term += 1;
            store.log.save_vote(&Vote::new(self.term, 1)).await.unwrap();
        }
    }

    async fn purge(&mut self, store: &mut Store) {
        let upto = self.applied + self.random.below(self.end - self.applied + 1);
        let applied: Vec<_> =
            self.entries.range(self.applied..upto).map(|(_, entry)| entry.clone()).collect();
        store
            .state
            .apply(futures_util::stream::iter(applied.into_iter().map(|entry| Ok((entry, None)))))
            .await
            .unwrap();
        self.applied = upto;
        store.state.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await.unwrap();
        // One entry stays, so that where the log ends is told by it.
        if let Some(last) = self.applied.checked_sub(2).filter(|last| self.entries.contains_key(last)) {
            store.log.purge(self.entries[&last].log_id()).await.unwrap();
            self.purged = last + 1;
            self.entries = self.entries.split_off(&self.purged);
        }
    }

    async fn is_read(&mut self, store: &mut Store, what: &str) {
        let mut reader = store.log.get_log_reader().await;
        let all = reader.try_get_log_entries(..).await.unwrap();
        assert!(all.iter().eq(self.entries.values()), "{what}: all");
        for _ in 0..4 {
            let from = self.purged + self.random.below(self.end - self.purged + 1);
            let to = from + self.random.below(300);
            let some = reader.try_get_log_entries(from..to).await.unwrap();
            assert!(
                some.iter().eq(self.entries.range(from..to).map(|(_, entry)| entry)),
                "{what}: {from}..{to}"
            );
        }
        let last = self.entries.values().next_back().map(RaftEntry::log_id);
        let state = store.log.get_log_state().await.unwrap();
        assert_eq!(
            state.last_log_id.max(state.last_purged_log_id),
            last.max(state.last_purged_log_id),
            "{what}"
        );
    }
}

/// What kinds of directories of segments there were.
async fn run(seed: u64) -> (bool, bool) {
    let disk = SimDisk::default();
    let random = Random::new(seed);
    let mut model = Model { random, term: 1, entries: BTreeMap::new(), end: 0, applied: 0, purged: 0 };
    let mut store = open(Path::new(DIR), options(&disk)).await.unwrap();
    store.log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let (mut had_tables, mut had_purged) = (false, false);
    for step in 0..STEPS {
        match model.random.below(10) {
            0..5 => model.append(&mut store).await,
            5..8 => model.truncate(&mut store).await,
            8 => model.purge(&mut store).await,
            _ => {
                drop(store);
                store = open(Path::new(DIR), options(&disk)).await.unwrap();
            }
        }
        model.is_read(&mut store, &format!("BLOCK_SEED={seed}, step {step}")).await;
        let names = disk.list(&Path::new(DIR).join("log")).unwrap();
        had_tables |= names.iter().any(|name| name.to_string_lossy().starts_with("table-"));
        had_purged |= model.purged > 0;
    }
    drop(store);
    let report = storage_leveldb::check::check::<Types, _>(
        Path::new(DIR),
        options(&disk),
        Register,
        &|_, _, _| Ok(()),
        &mut |_| {},
    );
    let report = report.unwrap();
    assert_eq!(report.problems, [], "BLOCK_SEED={seed}");
    assert_eq!(report.log.unwrap().entries, model.entries.len() as u64, "BLOCK_SEED={seed}");
    (had_tables, had_purged)
}

/// `BLOCK_SEED=17` runs one seed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_counts_is_read_whichever_block_it_is_in() {
    what_counts_is_read(FEW_SEEDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "four times as many seeds: .ci/run"]
async fn what_counts_is_read_of_many_seeds() {
    what_counts_is_read(SEEDS).await;
}

async fn what_counts_is_read(seeds: u64) {
    let one = std::env::var("BLOCK_SEED").map(|seed| seed.parse().unwrap());
    let seeds = one.map_or_else(|_| (1..=seeds).collect(), |seed| vec![seed]);
    let (mut with_tables, mut with_purges) = (0, 0);
    for seed in seeds.clone() {
        let (had_tables, had_purged) = run(seed).await;
        with_tables += usize::from(had_tables);
        with_purges += usize::from(had_purged);
    }
    println!("{} seeds, {with_tables} with tables, {with_purges} with purges", seeds.len());
    assert!(seeds.len() == 1 || with_tables > 0 && with_purges > 0);
}
