//! One way of applying a log.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use openraft::RaftSnapshotBuilder;
use openraft::storage::RaftStateMachine;
use tokio::io::AsyncWriteExt;

use super::probed::{Probed, Seen};
use crate::engine::{EngineFactory, MemoryEngine};
use crate::options::Options;
use crate::raft::Application;
use crate::storage::Storage;
use crate::testing::broken::Broken;
use crate::testing::model::Logged;
use crate::testing::random::Random;
use crate::testing::recorded::{Answers, Recorded};
use crate::testing::sim_disk::SimDisk;
use crate::testing::subject::{DIR, Subject, TestTypes};

/// Entries of one batch, at most.
const MAX_BATCH_ENTRIES: u64 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineKind {
    Memory,
    LevelDb,
}

/// How a log is applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) engine: EngineKind,
    /// One entry at a time; else in batches of random size.
    pub(super) one_by_one: bool,
    /// The storage is closed and opened again half way.
    pub(super) reopen: bool,
    /// Values are merged when the application says so, and not when they are read.
    pub(super) merges_at_once: bool,
    /// Half way a snapshot of the state is installed in a new storage, on the other engine, which
    /// goes on.
    pub(super) hand_over: bool,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine {
            EngineKind::Memory => "in memory",
            EngineKind::LevelDb => "on LevelDB",
        };
        let batches = if self.one_by_one { "one by one" } else { "in batches" };
        let reopen = if self.reopen { ", reopened half way" } else { "" };
        let merging = if self.merges_at_once { ", merging at once" } else { "" };
        let hand_over = if self.hand_over { ", handed over as a snapshot half way" } else { "" };
        write!(f, "{engine} {batches}{merging}{reopen}{hand_over}")
    }
}

/// What a run led to.
pub(super) struct Outcome {
    /// Encoded answers by log index.
    pub(super) answers: BTreeMap<u64, Vec<u8>>,
    /// What is behind some entries, by log index; behind the last among them.
    pub(super) states: BTreeMap<u64, Seen>,
}

type Store<C, A> = Storage<C, Probed<A>>;

/// A storage that can be opened again.
struct Place<'a, C: openraft::RaftTypeConfig, A> {
    subject: &'a Subject<C, A>,
    answers: Answers,
    merges_at_once: bool,
    disk: SimDisk,
    memory: Option<MemoryEngine>,
}

impl<'a, C: TestTypes, A: Application<C>> Place<'a, C, A> {
    fn new(subject: &'a Subject<C, A>, answers: &Answers, plan: Plan) -> Self {
        let memory = (plan.engine == EngineKind::Memory).then(MemoryEngine::default);
        let (answers, merges_at_once) = (answers.clone(), plan.merges_at_once);
        Self { subject, answers, merges_at_once, disk: SimDisk::default(), memory }
    }

    async fn open(&self) -> Result<Store<C, A>, Broken> {
        let options = Options {
            disk: Arc::new(self.disk.clone()),
            engine: self.memory.clone().map(|memory| Arc::new(memory) as Arc<dyn EngineFactory>),
            memtable_bytes: 4096,
            ..Options::default()
        };
        let (inner, answers) = (self.subject.application(), self.answers.clone());
        let recorded = Recorded { inner, answers, merges_at_once: self.merges_at_once };
        let probed = Probed { recorded, probe: self.subject.probe.clone() };
        Ok(Storage::open(Path::new(DIR), probed, options).await?)
    }
}

/// Applies `log` as `plan` says.
pub(super) async fn run<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    log: &[Arc<Logged<C>>],
    plan: Plan,
    mut random: Random,
) -> Result<Outcome, Broken> {
    let answers = Answers::default();
    let place = Place::new(subject, &answers, plan);
    let mut store = place.open().await?;
    let mut states = BTreeMap::new();
    let (first_half, second_half) = log.split_at(log.len() / 2);
    apply(&mut store, first_half, plan, &mut random, &mut states).await?;
    if plan.reopen {
        drop(store);
        store = place.open().await?;
    }
    if plan.hand_over {
        let other = match plan.engine {
            EngineKind::Memory => EngineKind::LevelDb,
            EngineKind::LevelDb => EngineKind::Memory,
        };
        let mut successor = Place::new(subject, &answers, Plan { engine: other, ..plan }).open().await?;
        hand_over(&mut store, &mut successor).await?;
        store = successor;
    }
    if let Some(last) = first_half.last().filter(|_| plan.reopen || plan.hand_over) {
        // Before anything more is applied: what was kept in memory is not there again yet.
        states.insert(last.log_id.index, store.reader.query(last.log_id.index).await?);
    }
    apply(&mut store, second_half, plan, &mut random, &mut states).await?;
    Ok(Outcome { answers: answers.take(), states })
}

async fn apply<C: TestTypes, A: Application<C>>(
    store: &mut Store<C, A>,
    log: &[Arc<Logged<C>>],
    plan: Plan,
    random: &mut Random,
    states: &mut BTreeMap<u64, Seen>,
) -> Result<(), Broken> {
    let mut rest = log;
    while let Some(last) = rest.len().checked_sub(1) {
        let more = if plan.one_by_one { 0 } else { random.below(MAX_BATCH_ENTRIES) };
        let last = last.min(usize::try_from(more).unwrap_or(0));
        let (now, later) = rest.split_at(last.saturating_add(1));
        let entries = now.iter().map(|logged| Ok((logged.entry()?, None)));
        let entries = entries.collect::<Result<Vec<_>, Broken>>()?;
        store.state.apply(futures_util::stream::iter(entries.into_iter().map(Ok))).await?;
        if let Some(index) = now.last().map(|logged| logged.log_id.index) {
            states.insert(index, store.reader.query(index).await?);
        }
        rest = later;
    }
    Ok(())
}

async fn hand_over<C: TestTypes, A: Application<C>>(
    from: &mut Store<C, A>,
    to: &mut Store<C, A>,
) -> Result<(), Broken> {
    let mut builder = from.state.get_snapshot_builder().await;
    let mut sent = builder.build_snapshot().await?;
    let mut received = to.inbox.create().await?;
    tokio::io::copy(&mut sent.snapshot, &mut received).await?;
    received.shutdown().await?;
    Ok(to.state.install_snapshot(&sent.meta, received).await?)
}
