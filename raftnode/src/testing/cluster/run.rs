//! Clients at work while links fail and nodes lose power.

use std::sync::Arc;
use std::time::Duration;

use storage_leveldb::testing::{Random, Survival};
use tokio::runtime::Builder;
use tokio::time::Instant;

use super::{Cluster, ClusterError, ClusterReport};
use crate::application::Application;
use crate::raft::NodeId;
use crate::testing::exercised::Failed;
use crate::testing::subject::{Subject, encoded};

const DEFAULT_NODES: u64 = 3;
const DEFAULT_ROUNDS: u64 = 6;
/// At work at a time.
const CLIENTS: u64 = 4;
/// What a client asks for in a round, at most.
const REQUESTS_PER_ROUND: u64 = 60;
/// A client begins nothing more when a round has taken this long: longer than an election.
const ROUND: Duration = Duration::from_millis(2500);
/// What a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(3000);
/// One request in so many is a query, if there are any.
const QUERY_ONE_IN: u64 = 4;
/// Messages take up to so much longer.
const MOST_DELAY_MILLIS: u64 = 40;
/// Operations on a slow disk take up to so much longer.
const MOST_DISK_DELAY_MILLIS: u64 = 60;
/// Threads of the runtime.
const THREADS: usize = 2;

/// Does a cluster keep its promises while links fail and nodes lose power? See
/// [`Subject::cluster_test`].
pub struct ClusterTest<A: Application> {
    subject: Subject<A>,
    nodes: u64,
    rounds: u64,
    seed: u64,
}

/// What happens in a round. A node is named by its place among those that there are then, since
/// those of the beginning may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// What one node sends to another is lost.
    Cut(NodeId, NodeId),
    /// A node is alone.
    Isolated(NodeId),
    /// Messages of every direction take longer.
    Slow(Duration),
    /// One message in so many from a node is lost.
    Lossy(NodeId, u64),
    /// One message in so many is overtaken, in every direction.
    Reordered(u64),
    /// The leader's power fails, and it starts again at once.
    LeaderCrash(Survival),
    /// A node's power fails, and it stays off until the next round.
    Crash(NodeId, Survival),
    /// All fail, and all start again.
    AllCrash(Survival),
    /// The others are in two halves, and only this node reaches both.
    Bridge(NodeId),
    /// There is no room on the disk of a node.
    FullDisk(NodeId),
    /// Each operation on the disk of a node takes longer.
    SlowDisk(NodeId, Duration),
    /// The disk of a node does not answer for some time.
    HangingDisk(NodeId),
    /// A new node joins, and this one leaves.
    Replaced(NodeId),
}

impl Trouble {
    fn of(random: &mut Random, nodes: u64) -> Self {
        let node = 1 + random.below(nodes);
        let other = 1 + (node + random.below(nodes.saturating_sub(1))) % nodes;
        let survival = match random.below(3) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Random(random.number()),
        };
        match random.below(13) {
            0 => Self::Cut(node, other),
            1 => Self::Isolated(node),
            2 => Self::Slow(Duration::from_millis(1 + random.below(MOST_DELAY_MILLIS))),
            3 => Self::Lossy(node, 2 + random.below(6)),
            4 => Self::Reordered(2 + random.below(6)),
            5 => Self::LeaderCrash(survival),
            6 => Self::Crash(node, survival),
            7 => Self::AllCrash(survival),
            8 => Self::Bridge(node),
            9 => Self::FullDisk(node),
            10 => Self::SlowDisk(node, Duration::from_millis(1 + random.below(MOST_DISK_DELAY_MILLIS))),
            11 => Self::HangingDisk(node),
            _ => Self::Replaced(node),
        }
    }
}

/// What was found, in which run.
#[derive(Debug, thiserror::Error)]
#[error("seed {seed}, in rounds of {rounds}: {reason}")]
#[non_exhaustive]
pub struct ClusterFailure {
    /// The run's seed.
    pub seed: u64,
    /// What happened in them.
    pub rounds: String,
    /// What was wrong.
    #[source]
    pub reason: Box<ClusterError>,
}

impl<A: Application> ClusterTest<A> {
    pub(in crate::testing) fn new(subject: Subject<A>) -> Self {
        Self { subject, nodes: DEFAULT_NODES, rounds: DEFAULT_ROUNDS, seed: 0 }
    }

    /// In a cluster of so many nodes; the default is 3.
    #[must_use]
    pub fn nodes(self, nodes: u64) -> Self {
        Self { nodes, ..self }
    }

    /// So many times something else goes wrong, for about 3 s each; the default is 6.
    #[must_use]
    pub fn rounds(self, rounds: u64) -> Self {
        Self { rounds, ..self }
    }

    /// Chooses what goes wrong and in which order, and what clients ask for. When a message arrives
    /// is up to the machine's threads: two runs of a seed are alike, and not the same.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Four clients write and read by way of any node, while one thing after another goes wrong;
    /// then everything works again, and what clients were told is compared with what has happened
    /// ([`Cluster::check`]). Prints the seed, and what goes wrong.
    ///
    /// # Errors
    /// The first promise that was broken, or the run is vacuous.
    pub fn run(&self) -> Result<ClusterReport, Failed<ClusterFailure>> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        let mut random = Random::new(self.seed);
        let troubles: Vec<_> = (0..self.rounds).map(|_| Trouble::of(&mut random, self.nodes)).collect();
        println!("cluster test, seed {}: {troubles:?}", self.seed);
        let failure = |reason| {
            let rounds = format!("{troubles:?}");
            Failed::Test(ClusterFailure { seed: self.seed, rounds, reason: Box::new(reason) })
        };
        let runtime = runtime.map_err(|e| failure(ClusterError::Runtime(e)))?;
        let report = runtime.block_on(self.all(&troubles)).map_err(failure)?;
        if let Some(reason) = report.exercised.unreadable {
            return Err(Failed::Unreadable(reason));
        }
        let exercised = report.exercised.judge(self.subject.may_answer_alike).map_err(Failed::Vacuous)?;
        Ok(ClusterReport { exercised, ..report })
    }

    async fn all(&self, troubles: &[Trouble]) -> Result<ClusterReport, ClusterError> {
        let application = Arc::clone(&self.subject.application);
        let cluster = Cluster::start(self.nodes, self.seed, move || application()).await?;
        let cluster = Arc::new(cluster);
        let mut digests = Ok(());
        for (round, trouble) in (0..).zip(troubles) {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| tokio::spawn(self.client(client, round).work(Arc::clone(&cluster))))
                .collect();
            begin(&cluster, *trouble).await?;
            for client in clients {
                // A client that panicked says why, and its requests have no end.
                if let Err(e) = client.await {
                    return Err(ClusterError::Client(e.to_string()));
                }
            }
            cluster.network().heal();
            cluster.heal_disks().await?;
            digests = digests.and(cluster.check_digests().await);
            for node in cluster.nodes() {
                cluster.restart(node).await?;
            }
        }
        match Arc::try_unwrap(cluster) {
            // What else is found says more.
            Ok(cluster) => cluster.check().await.and_then(|report| digests.map(|()| report)),
            Err(_) => unreachable!("the clients have ended"),
        }
    }

    fn client(&self, client: u64, round: u64) -> Client<A> {
        let seed = self.seed.wrapping_mul(1000).wrapping_add(round * CLIENTS + client);
        Client { subject: self.subject.clone(), random: Random::new(seed) }
    }
}

async fn begin<A: Application>(cluster: &Cluster<A>, trouble: Trouble) -> Result<(), ClusterError> {
    let (network, nodes) = (cluster.network(), cluster.nodes());
    let at = |place: NodeId| {
        let index = usize::try_from(place.saturating_sub(1)).ok();
        index.and_then(|index| nodes.get(index)).copied().unwrap_or(place)
    };
    let links = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
    match trouble {
        Trouble::Cut(from, to) => network.cut(at(from), at(to)),
        Trouble::Isolated(node) => network.isolate(at(node), nodes.iter().copied()),
        Trouble::Slow(most) => links.for_each(|(from, to)| network.delay(from, to, most)),
        Trouble::Lossy(node, n) => nodes.iter().for_each(|to| network.drop_one_in(n, at(node), *to)),
        Trouble::Reordered(n) => links.for_each(|(from, to)| network.reorder_one_in(n, from, to)),
        Trouble::LeaderCrash(survival) => {
            let leader = cluster.leader().await?;
            cluster.crash(leader, survival).await;
            cluster.restart(leader).await?;
        }
        Trouble::Crash(node, survival) => cluster.crash(at(node), survival).await,
        Trouble::AllCrash(survival) => {
            for node in &nodes {
                cluster.crash(*node, survival).await;
            }
            for node in &nodes {
                cluster.restart(*node).await?;
            }
        }
        Trouble::Bridge(bridge) => {
            let others: Vec<_> = nodes.iter().filter(|node| **node != at(bridge)).collect();
            let (one, other) = others.split_at(others.len() / 2);
            for (from, to) in one.iter().flat_map(|from| other.iter().map(move |to| (**from, **to))) {
                network.cut(from, to);
                network.cut(to, from);
            }
        }
        Trouble::FullDisk(node) => cluster.fill_disk(at(node)),
        Trouble::SlowDisk(node, delay) => cluster.slow_disk(at(node), Some(delay)),
        Trouble::HangingDisk(node) => cluster.slow_disk(at(node), None),
        Trouble::Replaced(node) => {
            let old = at(node);
            cluster.add_node().await?;
            cluster.remove_node(old).await?;
        }
    }
    Ok(())
}

/// Asks for one thing after another.
struct Client<A: Application> {
    subject: Subject<A>,
    random: Random,
}

impl<A: Application> Client<A> {
    async fn work(mut self, cluster: Arc<Cluster<A>>) {
        let begun = Instant::now();
        for _ in 0..REQUESTS_PER_ROUND {
            if begun.elapsed() >= ROUND {
                return;
            }
            let nodes = cluster.nodes();
            let node = self.random.choose(&nodes).copied().unwrap_or(1);
            let is_query = self.random.one_in(QUERY_ONE_IN);
            let query = self.subject.query.clone().filter(|_| is_query);
            // How a request ends is written down in the cluster's history.
            match query {
                Some(make) => {
                    let made =
                        self.made(&cluster, move |random, view| encoded("a query", &make(random, view)));
                    if let Some(query) = made.await {
                        drop(cluster.read_encoded(node, query, PATIENCE).await);
                    }
                }
                None => {
                    let make = Arc::clone(&self.subject.command);
                    let made =
                        self.made(&cluster, move |random, view| encoded("a command", &make(random, view)));
                    if let Some(command) = made.await {
                        drop(cluster.write_encoded(node, command, PATIENCE).await);
                    }
                }
            }
        }
    }

    /// What `make` makes of the state of a node.
    async fn made<T: Send + 'static>(
        &mut self,
        cluster: &Cluster<A>,
        make: impl FnOnce(&mut Random, &mut crate::application::View<'_, '_>) -> T + Send + 'static,
    ) -> Option<T> {
        let mut random = self.random.clone();
        let made = cluster.look(move |view| (make(&mut random, view), random)).await;
        let (made, random) = match made {
            Some(made) => made,
            None => {
                // No node runs, or the generator has panicked.
                tokio::time::sleep(super::LOOK_AGAIN).await;
                return None;
            }
        };
        self.random = random;
        Some(made)
    }
}
