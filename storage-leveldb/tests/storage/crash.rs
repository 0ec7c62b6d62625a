//! Power loss at every operation of a workload, and what is left of it.
//!
//! A workload (append, vote, truncate, commit, apply, snapshot, purge, install) runs on a simulated disk whose
//! power fails at its n-th operation, for every n. What survives is drawn at random within what a real disk
//! may do. The storage is opened again (sometimes the power fails during that too) and compared with a model.
//!
//! What it found: in a fresh directory the database for the first installed snapshot got the name of the
//! active one, which had been named but not created when the names in use were counted. Installing wrote
//! into the live database and then deleted it.
//!
//! `CRASH_SEEDS=200 cargo test --release -p storage-leveldb --test storage crash` runs more workloads;
//! `CRASH_SEED=17 CRASH_POINT=231 …` runs one point again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::support::{Set, Store, Types, log_id, open};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft::{LogState, RaftLogReader, RaftSnapshotBuilder, Vote};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use storage_leveldb::testing::{Failure, SimDisk};
use storage_leveldb::{LevelDbOptions, Options};

const DIR: &str = "node";
const STEPS: usize = 40;
const DEFAULT_SEEDS: u64 = 6;

type Entry = openraft::Entry<
    <<Types as openraft::RaftTypeConfig>::LeaderId as openraft::vote::RaftLeaderId>::Committed,
    openraft::EntryPayload<Set, u64, openraft::BasicNode>,
>;

/// Small enough that LevelDB rotates logs and compacts all the time.
fn options(disk: &SimDisk) -> Options {
    let small = LevelDbOptions { write_buffer_bytes: 2048, table_bytes: 2048, ..LevelDbOptions::default() };
    Options {
        disk: Arc::new(disk.clone()),
        log_leveldb: small,
        state_leveldb: small,
        tail_bytes: 2000,
        ..Options::default()
    }
}

/// What the storage was asked for, and what it promised.
#[derive(Debug, Clone, Default)]
struct Model {
    /// Every entry in the log, by index; all were acknowledged.
    entries: BTreeMap<u64, (u64, Set)>,
    vote: u64,
    term: u64,
    applied: u64,
    purged: u64,
    snapshot: u64,
    /// The step in flight: what else may have happened.
    next: Option<Box<Model>>,
}

impl Model {
    fn last(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(0)
    }

    /// The pairs after applying everything up to `index`.
    fn pairs_at(&self, index: u64) -> BTreeMap<String, String> {
        self.entries.range(..=index).map(|(_, (_, set))| (set.key.clone(), set.value.clone())).collect()
    }
}

fn entry(index: u64, term: u64, set: &Set) -> Entry {
    Entry::new_normal(log_id(term, index), set.clone())
}

fn random_set(random: &mut StdRng) -> Set {
    let len = if random.random_bool(0.05) { 5000 } else { random.random_range(0..200) };
    Set {
        key: format!("k{}", random.random_range(0..30)),
        value: format!("{}", random.random::<u64>()).repeat(len / 20 + 1),
    }
}

/// Runs the workload until it ends or the storage fails; the model then says what was promised.
struct Workload {
    store: Store,
    model: Model,
    random: StdRng,
}

impl Workload {
    async fn run(&mut self) -> Result<(), std::io::Error> {
        for _ in 0..STEPS {
            match self.random.random_range(0..20) {
                0..=8 => self.append().await?,
                9..=14 => self.apply().await?,
                15 => self.vote().await?,
                16 => self.truncate().await?,
                17 | 18 => self.snapshot_and_purge().await?,
                _ => self.install().await?,
            }
        }
        Ok(())
    }

    /// Announces what the next call may do; afterwards it has been done.
    fn announce(&mut self, change: impl FnOnce(&mut Model)) {
        let mut next = self.model.clone();
        next.next = None;
        change(&mut next);
        self.model.next = Some(Box::new(next));
    }

    fn done(&mut self) {
        self.model = *self.model.next.take().unwrap();
    }

    async fn append(&mut self) -> Result<(), std::io::Error> {
        let first = self.model.last() + 1;
        let term = self.model.term.max(1);
        let sets: Vec<Set> =
            (0..self.random.random_range(1..5)).map(|_| random_set(&mut self.random)).collect();
        let entries: Vec<Entry> = (first..).zip(&sets).map(|(index, set)| entry(index, term, set)).collect();
        self.announce(|next| next.entries.extend((first..).zip(sets.into_iter().map(|set| (term, set)))));
        let (tx, rx) = Types::oneshot();
        self.store.log.append(entries, IOFlushed::signal(tx)).await?;
        rx.await.map_err(std::io::Error::other)??;
        self.done();
        Ok(())
    }

    async fn vote(&mut self) -> Result<(), std::io::Error> {
        let term = self.model.term.max(1) + 1;
        self.announce(|next| {
            next.vote = term;
            next.term = term;
        });
        self.store.log.save_vote(&Vote::new(term, 1)).await?;
        self.done();
        Ok(())
    }

    async fn truncate(&mut self) -> Result<(), std::io::Error> {
        let (low, high) = (self.model.applied.max(self.model.purged), self.model.last());
        if low == 0 || low >= high {
            return Ok(());
        }
        let keep = self.random.random_range(low..high);
        let term = self.model.entries[&keep].0;
        self.announce(|next| drop(next.entries.split_off(&(keep + 1))));
        self.store.log.truncate_after(Some(log_id(term, keep))).await?;
        self.done();
        Ok(())
    }

    async fn apply(&mut self) -> Result<(), std::io::Error> {
        let (from, to) = (self.model.applied + 1, self.model.last());
        if from > to {
            return Ok(());
        }
        let to = self.random.random_range(from..=to);
        let term = self.model.entries[&to].0;
        self.store.log.save_committed(Some(log_id(term, to))).await?;
        let entries = self.store.log.get_log_reader().await.try_get_log_entries(from..=to).await?;
        assert_eq!(entries.len() as u64, to + 1 - from);
        self.announce(|next| next.applied = to);
        let stream = futures_util::stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
        self.store.state.apply(stream).await?;
        self.done();
        Ok(())
    }

    async fn snapshot_and_purge(&mut self) -> Result<(), std::io::Error> {
        if self.model.applied <= self.model.snapshot {
            return Ok(());
        }
        let upto = self.model.applied;
        self.announce(|next| next.snapshot = upto);
        let mut builder = self.store.state.try_create_snapshot_builder(true).await.unwrap();
        let snapshot = builder.build_snapshot().await?;
        assert_eq!(snapshot.meta.last_log_id.map(|id| id.index), Some(upto));
        self.done();
        let purge = self.random.random_range(self.model.purged..=upto);
        self.purge(purge).await
    }

    async fn purge(&mut self, upto: u64) -> Result<(), std::io::Error> {
        if upto <= self.model.purged {
            return Ok(());
        }
        let term = self.model.entries[&upto].0;
        self.announce(|next| next.purged = upto);
        self.store.log.purge(log_id(term, upto)).await?;
        self.done();
        Ok(())
    }

    /// A leader that is some entries ahead sends its snapshot.
    async fn install(&mut self) -> Result<(), std::io::Error> {
        let from = self.model.last() + 1;
        let term = self.model.term.max(1);
        let mut ahead = self.model.entries.clone();
        ahead.extend((from..from + 3).map(|index| (index, (term, random_set(&mut self.random)))));
        let leader = SimDisk::default();
        let mut leader = open(Path::new("leader"), options(&leader)).await.unwrap();
        let entries = ahead.iter().map(|(index, (term, set))| Ok((entry(*index, *term, set), None)));
        let entries: Vec<_> = entries.collect();
        leader.state.apply(futures_util::stream::iter(entries)).await.unwrap();
        let mut builder = leader.state.try_create_snapshot_builder(true).await.unwrap();
        let snapshot = builder.build_snapshot().await.unwrap();

        let upto = from + 2;
        self.announce(|next| {
            next.entries = ahead;
            next.applied = upto;
            next.snapshot = upto;
        });
        self.store.state.install_snapshot(&snapshot.meta, snapshot.snapshot).await?;
        self.done();
        self.purge(upto).await
    }
}

/// What was found after a crash.
struct Found {
    log: LogState<Types>,
    entries: Vec<Entry>,
    vote: u64,
    applied: u64,
    pairs: BTreeMap<String, String>,
    snapshot: u64,
    snapshot_pairs: BTreeMap<String, String>,
}

async fn inspect(store: &mut Store) -> Found {
    let log = store.log.get_log_state().await.unwrap();
    let mut reader = store.log.get_log_reader().await;
    let entries = reader.try_get_log_entries(..).await.unwrap();
    let vote = reader.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term);
    let (applied, _) = store.state.applied_state().await.unwrap();
    let pairs = store.reader.query(()).await.unwrap().into_iter().collect();
    let snapshot = store.state.get_current_snapshot().await.unwrap();
    let (mut snapshot_index, mut snapshot_pairs) = (0, BTreeMap::new());
    if let Some(snapshot) = snapshot {
        snapshot_index = snapshot.meta.last_log_id.map_or(0, |id| id.index);
        let other = SimDisk::default();
        let mut other = open(Path::new("other"), options(&other)).await.unwrap();
        other.state.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
        snapshot_pairs = other.reader.query(()).await.unwrap().into_iter().collect();
    }
    let applied = applied.map_or(0, |id| id.index);
    Found { log, entries, vote, applied, pairs, snapshot: snapshot_index, snapshot_pairs }
}

/// Compares what was found with what was promised.
fn check(found: &Found, model: &Model) {
    let after = model.next.as_deref().unwrap_or(model);
    let purged = found.log.last_purged_log_id.map_or(0, |id| id.index);
    let last = found.log.last_log_id.map_or(0, |id| id.index);

    // The vote never goes back.
    assert!(found.vote == model.vote || found.vote == after.vote, "vote {} of {}", found.vote, model.vote);

    // No holes, nothing but what was written, nothing acknowledged missing, nothing truncated back.
    assert!(purged <= after.purged, "purged {purged}, asked for {}", after.purged);
    let indexes: Vec<u64> = found.entries.iter().map(RaftEntry::index).collect();
    let expected: Vec<u64> = if indexes.is_empty() { Vec::new() } else { (indexes[0]..=last).collect() };
    assert_eq!(indexes, expected, "a hole in the log");
    if let Some(first) = indexes.first() {
        assert!(
            *first == purged + 1 || (purged == 0 && *first == 1) || *first <= model.snapshot + 1,
            "starts at {first}"
        );
    }
    for found in &found.entries {
        let index = found.index();
        let is = |model: &Model| {
            model.entries.get(&index).is_some_and(|(term, set)| *found == entry(index, *term, set))
        };
        assert!(is(model) || is(after), "entry {index} is not what was written");
    }
    let installing = after.snapshot > model.last();
    let least = model.last().min(after.last());
    assert!(
        last >= least || installing || found.snapshot >= least,
        "log ends at {last}, acknowledged to {least}"
    );
    assert!(last <= model.last().max(after.last()), "log ends at {last}");

    // The state is a prefix of the log, with its exact applied index.
    assert!(found.applied <= after.applied, "applied {} of {}", found.applied, after.applied);
    assert_eq!(found.pairs, after.pairs_at(found.applied), "state at {}", found.applied);

    // The old snapshot or the new, and never less than what has been purged.
    assert!(
        found.snapshot == model.snapshot || found.snapshot == after.snapshot,
        "snapshot {}",
        found.snapshot
    );
    assert_eq!(found.snapshot_pairs, after.pairs_at(found.snapshot), "snapshot at {}", found.snapshot);
    assert!(found.applied.max(found.snapshot) >= purged, "purged {purged}, but applied {}", found.applied);
}

/// One workload whose power fails at its `point`-th operation. Answers whether it got that far.
async fn crash_once(seed: u64, point: u64) -> bool {
    let disk = SimDisk::default();
    let mut random = StdRng::seed_from_u64(seed ^ (point << 20));
    disk.fail_at(point, Failure::PowerLoss);
    let mut model = Model::default();
    if let Ok(store) = open(Path::new(DIR), options(&disk)).await {
        let mut workload = Workload { store, model, random: StdRng::seed_from_u64(seed) };
        let result = workload.run().await;
        // The power may also fail behind the workload's back, while purged records are removed.
        assert!(result.is_ok() || disk.power_is_off(), "{result:?}");
        model = workload.model;
    }
    let crashed = disk.power_is_off();

    let mut disk = disk.reboot(|n| random.random_range(0..n));
    // Now and then the power fails again while the storage recovers.
    while random.random_bool(0.3) {
        disk.fail_at(random.random_range(1..30), Failure::PowerLoss);
        let _ = open(Path::new(DIR), options(&disk)).await;
        disk = disk.reboot(|n| random.random_range(0..n));
    }
    let reopened = open(Path::new(DIR), options(&disk)).await;
    let mut store = reopened.unwrap_or_else(|e| panic!("{e}; on disk: {:?}", disk.files()));
    let found = inspect(&mut store).await;
    check(&found, &model);
    crashed
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_power_interrupts_every_promise_holds() {
    let seeds = match number("CRASH_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CRASH_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let mut points = 0;
    for seed in seeds {
        let mut point = number("CRASH_POINT").unwrap_or(1);
        loop {
            let run = tokio::spawn(crash_once(seed, point));
            let crashed = run.await.unwrap_or_else(|e| panic!("CRASH_SEED={seed} CRASH_POINT={point}: {e}"));
            if !crashed || number("CRASH_POINT").is_some() {
                break;
            }
            point += 1;
            points += 1;
        }
    }
    println!("{points} crash points");
    assert!(points > 500 || number("CRASH_SEED").is_some(), "only {points} crash points");
}
