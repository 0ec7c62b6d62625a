//! A cluster in one process, over a simulated network and simulated disks.
//!
//! Its nodes are what a real node is between its sockets and its disk: openraft with the real
//! configuration, the storage, batches, sessions, read confirmation. Sockets, identities and the
//! services are not in it; a request is passed on to the leader by the simulated network. Time is
//! real, so an election takes two seconds.

mod check;
mod client;
mod disks;
mod error;
mod flaw;
mod history;
mod link;
mod member;
mod membership;
mod network;
mod port;
mod replay;
mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver as _;
use storage_leveldb::testing::{Random, SimDisk, Survival};

pub use self::error::{ClusterError, WriteName};
pub use self::network::{Messages, Network};
pub use self::run::{ClusterFailure, ClusterTest};

use self::check::Pairs;
pub(super) use self::check::own_pairs;
use self::flaw::Flaw;
use self::history::{History, Recorded, WriteEnd};
use self::member::{Member, Plan};
use super::exercised::Exercised;
use crate::application::{Application, Host, Typed};
use crate::raft::{self, NodeId};
use crate::standing::{Checkpoints, Judgement, judge};

/// A cluster that is whole has a leader, and every node everything, after this long.
const RECOVERY_SECONDS: u64 = 60;
/// One that is made to go wrong is not waited for as long.
const FLAWED_RECOVERY_SECONDS: u64 = 15;
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Some nodes that run the application `A`, and what clients have asked of them.
///
/// Every write is remembered, and [`check`](Self::check) says in the end whether what clients were
/// told is what has happened. To be used in a runtime with several threads, or at least one where
/// time passes.
pub struct Cluster<A: Application> {
    application: Arc<dyn Fn() -> A + Send + Sync>,
    plan: Plan,
    history: History,
    seats: Mutex<BTreeMap<NodeId, Seat>>,
    /// The highest number that a node ever had.
    last_node: AtomicU64,
    random: Mutex<Random>,
    /// How much longer operations on slow disks take.
    disk_delays: Mutex<Vec<Arc<AtomicU64>>>,
}

/// A node's place: its disk, and what runs on it.
struct Seat {
    disk: SimDisk,
    member: Option<Arc<Member>>,
    starts: u64,
}

/// What a cluster has done, all of it rightly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterReport {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes that were not applied, and whose clients were told so.
    pub not_applied: u64,
    /// Writes of which clients were told that they may have been applied.
    pub unknown: u64,
    /// Linearizable reads that were answered.
    pub reads: u64,
    /// Nodes that were started again after their power had failed.
    pub restarts: u64,
    /// What has become of messages between nodes.
    pub messages: Messages,
    /// What the commands did.
    pub exercised: Exercised,
}

impl fmt::Display for ClusterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, not_applied, unknown, reads, restarts, messages, exercised } = self;
        let Messages { sent, lost, reordered, .. } = messages;
        write!(
            f,
            "{acknowledged} writes acknowledged, {not_applied} not applied, {unknown} unknown; {reads} reads; \
             {restarts} restarts; {sent} messages, {lost} lost, {reordered} reordered\n{exercised}"
        )
    }
}

impl<A: Application> Cluster<A> {
    /// Starts `nodes` nodes, 1, 2, 3 and so on, and waits until one leads. `seed` decides which
    /// messages are lost where some are to be.
    ///
    /// # Errors
    /// A node does not start, or none leads.
    pub async fn start(
        nodes: u64,
        seed: u64,
        application: impl Fn() -> A + Send + Sync + 'static,
    ) -> Result<Self, ClusterError> {
        Self::start_as(nodes, seed, Arc::new(application), None).await
    }

    async fn start_as(
        nodes: u64,
        seed: u64,
        application: Arc<dyn Fn() -> A + Send + Sync>,
        flaw: Option<Flaw>,
    ) -> Result<Self, ClusterError> {
        let history = History::default();
        let (make, recorded) = (Arc::clone(&application), history.clone());
        let host = move || {
            let inner = Arc::new(Typed(Arc::new(make())));
            Arc::new(Recorded { inner, history: recorded.clone() }) as Arc<dyn Host>
        };
        let plan = Plan { network: Network::new(seed), host: Arc::new(host), flaw };
        let (seats, random) = (Mutex::default(), Mutex::new(Random::new(seed)));
        let last_node = AtomicU64::new(nodes);
        let disk_delays = Mutex::default();
        let this = Self { application, plan, history, seats, last_node, random, disk_delays };
        for id in 1..=nodes {
            this.new_seat(id).await?;
        }
        let members: BTreeMap<_, _> =
            this.nodes().into_iter().map(|id| (id, raft::Member::default())).collect();
        if let Some(first) = this.member(1) {
            // A cluster that cannot be founded has no leader.
            drop(first.raft.initialize(members).await);
        }
        this.leader().await?;
        Ok(this)
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.seats().keys().copied().collect()
    }

    /// What is between them.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.plan.network
    }

    /// A node that leads, and whose leadership a majority confirms. Waits for one.
    ///
    /// # Errors
    /// There is none for a minute.
    pub async fn leader(&self) -> Result<NodeId, ClusterError> {
        let found = self.within("no node leads", || async {
            for id in self.nodes() {
                if let Some(member) = self.member(id)
                    && member.leader() == Some(id)
                    && member.requests.clone().confirmed().await
                {
                    return Some(id);
                }
            }
            None
        });
        found.await
    }

    /// The power of `node` fails: it stops at once, and its disk keeps what was synced, and of the
    /// rest what `survival` says. Nothing happens if it does not run.
    pub async fn crash(&self, node: NodeId, survival: Survival) {
        let running =
            self.seats().get_mut(&node).and_then(|seat| Some((seat.member.take()?, seat.disk.clone())));
        let Some((member, disk)) = running else { return };
        let left = member.crash(&self.plan.network, &disk, survival).await;
        if let Some(seat) = self.seats().get_mut(&node) {
            seat.disk = left;
        }
    }

    /// Starts `node` again on what is on its disk. Nothing happens if it runs.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&self, node: NodeId) -> Result<(), ClusterError> {
        if self.member(node).is_some() { Ok(()) } else { self.run(node).await }
    }

    /// Heals every link, starts every node again, waits until all have everything, and looks
    /// whether what clients were told is what has happened: no acknowledged write is lost, none is
    /// applied twice, or although it was reported as not applied; each was answered with what
    /// applying it gave; a write that began after another was acknowledged comes behind it; a read
    /// saw everything acknowledged before it began, and was answered as a model answers that has
    /// applied the same; all nodes have the pairs of that model. No requests may be under way.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub async fn check(self) -> Result<ClusterReport, ClusterError> {
        self.network().heal();
        self.network().forget_late();
        for node in self.nodes() {
            self.restart(node).await?;
        }
        let nodes = self.converged().await;
        let nodes = nodes.map_err(|e| self.history.events().check().err().unwrap_or(e))?;
        let digests = self.check_digests().await;
        for node in self.nodes() {
            if let Some(member) = self.member(node) {
                member.stop(self.network()).await;
            }
        }
        let events = std::mem::take(&mut *self.history.events());
        events.check()?;
        let exercised = events.replay((self.application)(), &nodes).await?;
        // Last, as it says the least of what went wrong.
        digests?;
        let ended = |wanted: fn(&WriteEnd) -> bool| {
            let ends = events.writes.iter().filter_map(|write| write.end.as_ref());
            ends.filter(|(_, end)| wanted(end)).count() as u64
        };
        Ok(ClusterReport {
            acknowledged: ended(|end| matches!(end, WriteEnd::Acknowledged(_))),
            not_applied: ended(|end| *end == WriteEnd::NotApplied),
            unknown: ended(|end| *end == WriteEnd::Unknown),
            reads: events.reads.len() as u64,
            restarts: self.seats().values().map(|seat| seat.starts.saturating_sub(1)).sum(),
            messages: self.network().messages(),
            exercised,
        })
    }

    /// Every node takes all that run for what they are: members that have applied the same.
    async fn check_digests(&self) -> Result<(), ClusterError> {
        let judged = self.judgements().await.into_iter();
        let ill = judged.filter(|(_, judgement)| *judgement != Judgement::Well);
        let text: Vec<_> = ill.map(|(node, judgement)| format!("node {node}: {judgement:?}")).collect();
        if text.is_empty() { Ok(()) } else { Err(ClusterError::Digests(text.join("\n"))) }
    }

    /// What each node that runs makes of its own digests and of those of the others, as a real one
    /// does that asks them.
    async fn judgements(&self) -> BTreeMap<NodeId, Judgement> {
        let voters = self.nodes().into_iter().collect();
        let mut known = Checkpoints::new();
        for node in self.nodes() {
            if let Some(member) = self.member(node)
                && let Ok(checkpoints) = member.checkpoints().await
            {
                known.insert(node, checkpoints);
            }
        }
        let judged = |(node, own): (&NodeId, &Vec<_>)| {
            let others = known.iter().filter(|(other, _)| *other != node);
            let others = others.map(|(other, theirs)| (*other, theirs.clone())).collect();
            (*node, judge(*node, own, &others, &voters))
        };
        known.iter().map(judged).collect()
    }

    /// The application's pairs of each node, once all have applied what the leader had.
    async fn converged(&self) -> Result<BTreeMap<NodeId, Pairs>, ClusterError> {
        let leader = self.leader().await?;
        let applied = |node| {
            let metrics = self.member(node)?.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.last_applied.map(|id| id.index)
        };
        let goal = self.member(leader).and_then(|member| {
            let metrics = member.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.last_log_index
        });
        self.within("a node does not catch up", || async {
            self.nodes().into_iter().all(|node| applied(node) >= goal).then_some(())
        })
        .await?;
        let mut nodes = BTreeMap::new();
        for node in self.nodes() {
            if let Some(member) = self.member(node) {
                let pairs = member.reader.query(own_pairs()).await;
                let pairs = pairs.map_err(|source| ClusterError::Start { node, source })?;
                nodes.insert(node, pairs.downcast().map_or_else(|_| Pairs::new(), |pairs| *pairs));
            }
        }
        Ok(nodes)
    }

    /// What `look` finds, in good time. A node that has stopped by itself is not waited for.
    async fn within<T, F: Future<Output = Option<T>>>(
        &self,
        reason: &str,
        look: impl Fn() -> F,
    ) -> Result<T, ClusterError> {
        let begun = Instant::now();
        let seconds = self.plan.flaw.map_or(RECOVERY_SECONDS, |_| FLAWED_RECOVERY_SECONDS);
        while begun.elapsed() < Duration::from_secs(seconds) {
            if let Some(found) = look().await {
                return Ok(found);
            }
            self.check_running()?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(ClusterError::NotRecovered { seconds, reason: reason.to_owned() })
    }

    fn check_running(&self) -> Result<(), ClusterError> {
        let stopped = |node| {
            let metrics = self.member(node)?.raft.metrics();
            let state = metrics.borrow_watched().running_state.clone();
            Some(ClusterError::Stopped { node, reason: state.err()?.to_string() })
        };
        self.nodes().into_iter().find_map(stopped).map_or(Ok(()), Err)
    }

    async fn run(&self, node: NodeId) -> Result<(), ClusterError> {
        let seat = |seat: &mut Seat| {
            seat.starts += 1;
            (seat.disk.clone(), seat.starts)
        };
        let Some((disk, starts)) = self.seats().get_mut(&node).map(seat) else { return Ok(()) };
        let member = self.plan.start(node, starts, &disk).await;
        let member = member.map_err(|source| ClusterError::Start { node, source })?;
        if let Some(seat) = self.seats().get_mut(&node) {
            seat.member = Some(Arc::new(member));
        }
        Ok(())
    }

    fn member(&self, node: NodeId) -> Option<Arc<Member>> {
        self.seats().get(&node)?.member.clone()
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<NodeId, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
