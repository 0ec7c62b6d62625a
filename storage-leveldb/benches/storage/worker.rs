//! The task that owns the state machine, as openraft's worker does.

use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::{RaftLogReader, RaftSnapshotBuilder};
use storage_leveldb::StateMachine;
use storage_leveldb::raft::LogReader;
use tokio::sync::{mpsc, oneshot};

use crate::pairs::{Pairs, Snapshot, Store, Types};
use crate::policy::Policy;
use crate::waits::{Mark, Waits};

/// A call of `apply` that takes longer holds up those behind it.
const LONG: Duration = Duration::from_millis(10);
/// Entries that openraft applies at once when it starts.
const REPLAYED_AT_ONCE: u64 = 64;

/// What the worker is asked for.
pub(crate) enum Work {
    Apply { first: u64, last: u64, marks: Vec<Mark>, given: Instant },
    Build(oneshot::Sender<()>),
    Current(oneshot::Sender<Option<Snapshot>>),
}

pub(crate) struct Worker {
    state: StateMachine<Types, Pairs>,
    log: LogReader<Types>,
    policy: Policy,
    waits: Arc<Waits>,
    purge: mpsc::UnboundedSender<u64>,
    applied: u64,
    /// Where the last snapshot that was due was begun.
    snapshot: u64,
    is_building: Arc<AtomicBool>,
}

impl Worker {
    pub(crate) fn new(
        state: StateMachine<Types, Pairs>,
        log: LogReader<Types>,
        policy: Policy,
        waits: Arc<Waits>,
        purge: mpsc::UnboundedSender<u64>,
        applied: u64,
    ) -> Self {
        let is_building = Arc::default();
        Self { state, log, policy, waits, purge, applied, snapshot: applied, is_building }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Work>) {
        while let Some(work) = commands.recv().await {
            match work {
                Work::Apply { first, last, marks, given } => self.apply(first..=last, marks, given).await,
                Work::Build(done) => self.build(Some(done)).await,
                Work::Current(done) => {
                    let current = self.state.get_current_snapshot().await.unwrap();
                    drop(done.send(current));
                }
            }
        }
        while self.is_building.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::task::spawn_blocking(move || drop(self)).await.unwrap();
    }

    async fn apply(&mut self, range: RangeInclusive<u64>, marks: Vec<Mark>, given: Instant) {
        let last = *range.end();
        let started = Instant::now();
        apply(&mut self.state, &mut self.log, range).await;
        let over = started.elapsed().saturating_sub(LONG);
        if !over.is_zero() {
            self.waits.held_up.record(over, 1);
        }
        self.waits.apply.since(given, 1);
        for Mark { intended, count, room } in marks {
            self.waits.put.since(intended, count);
            drop(room);
        }
        self.applied = last;
        let due = self.policy.snapshot_entries.is_some_and(|entries| last - self.snapshot >= entries);
        // One at a time, as openraft does it: if one takes long, the next comes later.
        if due && !self.is_building.load(Ordering::Acquire) {
            self.build(None).await;
        }
    }

    async fn build(&mut self, done: Option<oneshot::Sender<()>>) {
        let started = Instant::now();
        let mut builder = self.state.get_snapshot_builder().await;
        self.waits.held_up.since(started, 1);
        self.snapshot = self.applied;
        self.is_building.store(true, Ordering::Release);
        let (purge, kept) = (self.purge.clone(), self.policy.kept_entries);
        let (waits, is_building) = (self.waits.clone(), self.is_building.clone());
        tokio::spawn(async move {
            let snapshot = builder.build_snapshot().await.unwrap();
            waits.build.since(started, 1);
            let end = snapshot.meta.last_log_id.map_or(0, |id| id.index);
            drop((snapshot.snapshot, builder));
            if end > kept {
                // The core is gone when the node is being closed.
                let _ = purge.send(end - kept);
            }
            is_building.store(false, Ordering::Release);
            done.map(|done| done.send(()))
        });
    }
}

/// Applies entries of the log.
async fn apply(
    state: &mut StateMachine<Types, Pairs>,
    log: &mut LogReader<Types>,
    range: RangeInclusive<u64>,
) {
    let entries = log.entries_stream(range).await;
    let mut entries = pin!(entries.map(|entry| entry.map(|entry| (entry, None))));
    state.apply(entries.as_mut()).await.unwrap();
}

/// Brings the state up to the end of the log, as openraft does when it starts; answers how many
/// entries it applied. openraft applies what is known to be committed; here that is all there is.
pub(crate) async fn replay(store: &mut Store) -> u64 {
    let applied = store.state.applied_state().await.unwrap().0;
    if let Some(snapshot) = store.state.get_current_snapshot().await.unwrap()
        && snapshot.meta.last_log_id > applied
    {
        store.state.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    }
    let applied = store.state.applied_state().await.unwrap().0.map_or(0, |id| id.index);
    let last = store.log.get_log_state().await.unwrap().last_log_id.map_or(0, |id| id.index);
    let mut log = store.log.get_log_reader().await;
    for first in (applied + 1..=last).step_by(REPLAYED_AT_ONCE as usize) {
        apply(&mut store.state, &mut log, first..=last.min(first + REPLAYED_AT_ONCE - 1)).await;
    }
    last.saturating_sub(applied)
}
