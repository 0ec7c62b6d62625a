//! A storage used as a Raft node uses it, without the network.
//!
//! One task is openraft's core: it owns the log, appends all that waits as one batch without
//! waiting for the batch before it to be flushed, saves votes and the committed position, purges.
//! Another is openraft's state machine [`worker`](crate::worker): it reads back from the log what
//! has been flushed, applies it, and builds snapshots. What is appended is what is applied.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::{OneshotReceiverOf, VoteOf};
use storage_leveldb::{LogStore, Options, Sizes, StateReader, Storage};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::pairs::{Pairs, Put, Snapshot, Store, Types, entry, log_id};
use crate::policy::Policy;
use crate::waits::{Mark, Waits};
use crate::worker::{self, Work, Worker};

/// Puts under way when the node is used as fast as it can be; openraft's queue in a kvnode has as
/// many.
pub(crate) const WINDOW: u32 = 8192;
/// Requests that wait for the core, and those that it takes at once.
const QUEUE_REQUESTS: usize = 1024;
const REQUESTS_AT_ONCE: usize = 64;
/// Commands that wait for the state machine, as in a kvnode.
const QUEUE_WORK: usize = 1024;
/// Between two votes, where votes are saved.
const VOTE_INTERVAL: Duration = Duration::from_millis(200);

/// Puts for the core.
pub(crate) struct Request {
    pub(crate) puts: Vec<Put>,
    pub(crate) mark: Mark,
}

pub(crate) struct Node {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) reader: StateReader<Types, Pairs>,
    pub(crate) sizes: Sizes,
    pub(crate) waits: Arc<Waits>,
    pub(crate) window: Arc<Semaphore>,
    work: mpsc::Sender<Work>,
    core: JoinHandle<LogStore<Types>>,
    worker: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn open(dir: &Path, options: Options, policy: Policy) -> Self {
        Self::start(Storage::open(dir, Pairs, options).await.unwrap(), policy).await
    }

    /// Brings the state up to the log and goes on from there.
    pub(crate) async fn start(mut store: Store, policy: Policy) -> Self {
        worker::replay(&mut store).await;
        let last = store.log.get_log_state().await.unwrap().last_log_id.map_or(0, |id| id.index);
        let waits = Arc::new(Waits::default());
        let (requests, waiting) = mpsc::channel(QUEUE_REQUESTS);
        let (work, commands) = mpsc::channel(QUEUE_WORK);
        let (purge, purges) = mpsc::unbounded_channel();
        let log = store.log.get_log_reader().await;
        let worker = Worker::new(store.state, log, policy, waits.clone(), purge, last);
        let core = Core {
            log: store.log,
            next: last + 1,
            pending: VecDeque::new(),
            work: work.clone(),
            waits: waits.clone(),
        };
        Self {
            requests,
            reader: store.reader,
            sizes: store.sizes,
            waits,
            window: Arc::new(Semaphore::new(WINDOW as usize)),
            work,
            core: tokio::spawn(core.run(waiting, purges, policy.votes)),
            worker: tokio::spawn(worker.run(commands)),
        }
    }

    /// Builds a snapshot.
    pub(crate) async fn build(&self) {
        let (done, built) = oneshot::channel();
        self.work.send(Work::Build(done)).await.unwrap();
        built.await.unwrap();
    }

    /// The newest snapshot.
    pub(crate) async fn snapshot(&self) -> Option<Snapshot> {
        let (done, current) = oneshot::channel();
        self.work.send(Work::Current(done)).await.unwrap();
        current.await.unwrap()
    }

    /// Waits until everything asked for has been applied, and closes the storage.
    pub(crate) async fn close(self) {
        let Self { requests, reader, work, core, worker, .. } = self;
        drop(requests);
        let log = core.await.unwrap();
        drop(work);
        worker.await.unwrap();
        // The databases are closed where the last of these is dropped, which blocks.
        tokio::task::spawn_blocking(move || drop((log, reader))).await.unwrap();
    }
}

/// Entries that have been appended and are not durable yet.
struct Pending {
    first: u64,
    last: u64,
    marks: Vec<Mark>,
    flushed: OneshotReceiverOf<Types, Result<(), io::Error>>,
}

/// Waits for the first of them; any number of times.
async fn flushed(pending: &mut VecDeque<Pending>) {
    match pending.front_mut() {
        Some(first) => (&mut first.flushed).await.unwrap().unwrap(),
        None => std::future::pending().await,
    }
}

struct Core {
    log: LogStore<Types>,
    next: u64,
    pending: VecDeque<Pending>,
    work: mpsc::Sender<Work>,
    waits: Arc<Waits>,
}

impl Core {
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut purges: mpsc::UnboundedReceiver<u64>,
        votes: bool,
    ) -> LogStore<Types> {
        let mut vote_timer = tokio::time::interval(VOTE_INTERVAL);
        vote_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut some = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = flushed(&mut self.pending) => self.commit().await,
                Some(end) = purges.recv() => self.log.purge(log_id(end)).await.unwrap(),
                due = vote_timer.tick(), if votes => self.vote(due.into_std()).await,
                taken = requests.recv_many(&mut some, REQUESTS_AT_ONCE) => match taken {
                    0 => break,
                    _ => self.append(std::mem::take(&mut some)).await,
                },
            }
        }
        while !self.pending.is_empty() {
            flushed(&mut self.pending).await;
            self.commit().await;
        }
        self.log
    }

    async fn append(&mut self, requests: Vec<Request>) {
        let first = self.next;
        let mut entries = Vec::new();
        let mut marks = Vec::with_capacity(requests.len());
        for Request { puts, mark } in requests {
            entries.extend((self.next..).zip(puts).map(|(index, put)| entry(index, put)));
            self.next = first + entries.len() as u64;
            marks.push(mark);
        }
        let (done, flushed) = Types::oneshot();
        self.log.append(entries, IOFlushed::signal(done)).await.unwrap();
        self.pending.push_back(Pending { first, last: self.next - 1, marks, flushed });
    }

    /// The first pending entries are durable, which commits them on a node that is alone.
    async fn commit(&mut self) {
        let Some(Pending { first, last, marks, .. }) = self.pending.pop_front() else { return };
        marks.iter().for_each(|mark| self.waits.append.since(mark.intended, mark.count));
        self.log.save_committed(Some(log_id(last))).await.unwrap();
        let work = Work::Apply { first, last, marks, given: Instant::now() };
        self.work.send(work).await.unwrap();
    }

    async fn vote(&mut self, due: Instant) {
        // The same vote again: what it costs does not depend on what it says.
        self.log.save_vote(&VoteOf::<Types>::new_committed(1, 1)).await.unwrap();
        self.waits.vote.since(due, 1);
    }
}
