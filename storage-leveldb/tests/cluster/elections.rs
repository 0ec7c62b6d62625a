//! A majority that is connected elects, and then has peace.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{BasicNode, Config, Raft, ReadPolicy, SnapshotPolicy};
use storage_leveldb::durable_config;
use tokio::time::{Instant, sleep, timeout};

use crate::graphs::Case;
use crate::sim_network::SimNetwork;
use crate::support::log_store::LogStore;
use crate::support::state_machine::StateMachine;
use crate::support::{Blob, TypeConfig};

/// What is promised: a linked majority has a leader this long after the last link broke.
const ELECTED_WITHIN: Duration = Duration::from_secs(10);
/// For so long after that no term may change: several probes of a leader that lost its quorum.
const PEACE: Duration = Duration::from_secs(8);
/// Nothing takes so long but what never happens.
const NEVER: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// In peace: a leader that is lost between two looks comes back, if at all, in another term.
const POLL_IN_PEACE: Duration = Duration::from_millis(500);
/// What a leader takes to hear from a quorum.
const CONFIRMED_WITHIN: Duration = Duration::from_millis(200);
/// The cases are spread over so many threads.
const THREADS: usize = 2;

type Node = Raft<TypeConfig, StateMachine>;

struct Cluster {
    network: SimNetwork<TypeConfig, StateMachine>,
    nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    /// Nodes `0..size`, of which `leader` leads and all have its entries.
    async fn start(size: usize, leader: u64, config: &Config) -> Self {
        let (network, mut nodes) = (SimNetwork::default(), BTreeMap::new());
        let config = Arc::new(config.clone().validate().unwrap());
        for id in 0..size as u64 {
            let (log, state) = (LogStore::default(), StateMachine::default());
            let raft = Raft::new(id, config.clone(), network.peers_of(id), log, state).await.unwrap();
            network.connect(id, raft.clone());
            nodes.insert(id, raft);
        }
        let members: BTreeMap<u64, BasicNode> = nodes.keys().map(|id| (*id, BasicNode::default())).collect();
        nodes[&leader].initialize(members).await.unwrap();
        let cluster = Self { network, nodes };
        assert_eq!(cluster.await_leader(NEVER).await, Some(leader));
        let written = cluster.nodes[&leader].client_write(Blob::of(1)).await.unwrap();
        for node in cluster.nodes.values() {
            let wait = node.wait(Some(NEVER));
            wait.applied_index_at_least(Some(written.log_id.index), "the first write").await.unwrap();
        }
        cluster
    }

    /// The node that leads and has just been acknowledged by a quorum.
    async fn leader(&self) -> Option<u64> {
        for (id, node) in &self.nodes {
            let confirmed = timeout(CONFIRMED_WITHIN, node.ensure_linearizable(ReadPolicy::ReadIndex)).await;
            if matches!(confirmed, Ok(Ok(_))) {
                return Some(*id);
            }
        }
        None
    }

    async fn await_leader(&self, within: Duration) -> Option<u64> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if let Some(leader) = self.leader().await {
                return Some(leader);
            }
            sleep(POLL).await;
        }
        None
    }

    /// The greatest term of any node that is alive.
    fn term(&self) -> u64 {
        let term = |node: &Node| node.metrics().borrow_watched().current_term;
        self.nodes.values().map(term).max().unwrap()
    }

    async fn kill(&mut self, id: u64) {
        self.network.disconnect(&id);
        self.nodes.remove(&id).unwrap().shutdown().await.unwrap();
    }

    /// Cuts what `case` does not link, and has the old leader take a write that may reach only
    /// some.
    async fn strike(&mut self, case: &Case) {
        if let Some(dead) = case.dead {
            self.kill(dead as u64).await;
        }
        for a in case.alive() {
            case.alive().filter(|b| *b != a && !case.are_linked(a, *b)).for_each(|b| {
                self.network.cut(a as u64, b as u64);
            });
        }
        if let Some(leader) = self.nodes.get(&(case.leader as u64)).cloned() {
            tokio::spawn(async move { leader.client_write(Blob::of(2)).await.map(drop) });
        }
    }
}

/// What became of a case.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// How long there was no leader that a quorum acknowledged.
    elected: Option<Duration>,
    /// By how much the term rose, up to then and after that.
    terms: (u64, u64),
    /// The leader was acknowledged to the end.
    stayed: bool,
}

impl Outcome {
    fn is_as_promised(&self) -> bool {
        self.elected.is_some() && self.terms.1 == 0 && self.stayed
    }
}

async fn try_case(case: &Case, config: &Config) -> Outcome {
    let mut cluster = Cluster::start(case.size, case.leader as u64, config).await;
    let before = cluster.term();
    cluster.strike(case).await;
    let struck = Instant::now();
    let leader = cluster.await_leader(ELECTED_WITHIN).await;
    let (elected, term) = (leader.map(|_| struck.elapsed()), cluster.term());
    let (peace, mut stayed) = (Instant::now(), true);
    while peace.elapsed() < PEACE {
        stayed &= leader.is_some() && cluster.leader().await == leader;
        sleep(POLL_IN_PEACE).await;
    }
    Outcome { elected, terms: (term - before, cluster.term() - term), stayed }
}

/// A case in a runtime of its own whose clock jumps to whatever happens next.
fn in_simulated_time<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(future)
}

fn config() -> Config {
    Config { snapshot_policy: SnapshotPolicy::Never, ..durable_config() }
}

fn outcomes(cases: Vec<Case>, config: &Config) -> Vec<(Case, Outcome)> {
    let (waiting, done) = (Mutex::new(cases.into_iter()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = { waiting.lock().unwrap().next() } {
            let outcome = in_simulated_time(try_case(&case, config));
            done.lock().unwrap().push((case, outcome));
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().unwrap();
    done.sort_by(|(a, _), (b, _)| a.cmp(b));
    done
}

/// A majority of three, four or five voters whose members all hear each other has a leader within
/// [`ELECTED_WITHIN`], whatever other links there are, whichever node led, and also when one voter
/// is dead; and then the term stays as it is. Every graph is tried.
///
/// Found in a partial partition of five voters: a leader that only one of the others heard kept
/// that one from voting, with heartbeats that were too few to lead by, for as long as the partition
/// lasted (openraft #2080). `quorum_loss_probe_interval` makes such a leader silent for a while.
///
/// Not promised: a majority that is connected only through one of its members; see
/// [`a_majority_that_hears_only_one_of_its_members_has_peace_at_least`].
#[test]
fn a_connected_majority_elects_and_keeps_its_leader() {
    let cases = [3, 4, 5].into_iter().flat_map(Case::all).filter(Case::has_linked_majority);
    let mut failed = String::new();
    let mut slowest = Duration::ZERO;
    let outcomes = outcomes(cases.collect(), &config());
    for (case, outcome) in &outcomes {
        slowest = slowest.max(outcome.elected.unwrap_or(ELECTED_WITHIN));
        if !outcome.is_as_promised() {
            writeln!(failed, "{case}: {outcome:?}").unwrap();
        }
    }
    println!("{} cases; the slowest leader took {slowest:?}", outcomes.len());
    assert!(failed.is_empty(), "\n{failed}");
}

/// The test above can fail: without the probe interval the partition of openraft #2080 has no
/// leader.
#[test]
fn without_the_probe_interval_a_connected_majority_elects_nobody() {
    // 4 is dead; 0 led, and of the others only 1 hears it.
    let links = [(0, 1), (1, 2), (1, 3), (2, 3)].into();
    let case = Case { size: 5, links, leader: 0, dead: Some(4) };
    assert!(case.has_linked_majority());
    let config = Config { quorum_loss_probe_interval: None, ..config() };
    let (_, outcome) = outcomes(vec![case], &config).remove(0);
    assert!(outcome.elected.is_none(), "{outcome:?}");
}

/// Majorities that are connected only through one member, which all of them hear. That such a
/// majority elects is not promised: only that member can be acknowledged by all. Observed in 20
/// runs of all cases: each had a leader within 4 s, and the term rose once. So much is asserted
/// that no term climbs.
#[test]
fn a_majority_that_hears_only_one_of_its_members_has_peace_at_least() {
    let cases =
        [3, 4, 5].into_iter().flat_map(Case::all).filter(|c| c.has_center() && !c.has_linked_majority());
    for (case, outcome) in outcomes(cases.collect(), &config()) {
        println!("{case}: {outcome:?}");
        assert!(outcome.terms.1 <= 1, "{case}: {outcome:?}");
    }
}

/// How long writers of three nodes are without a leader when theirs dies: the lease that the others
/// still hold to it, and then the shorter of their two election timeouts.
#[test]
fn a_dead_leader_is_replaced_after_its_lease_and_an_election_timeout() {
    const ROUNDS: usize = 30;
    let one = || {
        in_simulated_time(async {
            let mut cluster = Cluster::start(3, 0, &config()).await;
            // The heartbeats' phase is another each time.
            sleep(Duration::from_millis(rand::random_range(0..150))).await;
            cluster.kill(0).await;
            let killed = Instant::now();
            cluster.await_leader(NEVER).await.unwrap();
            killed.elapsed()
        })
    };
    let mut took: Vec<Duration> = (0..ROUNDS).map(|_| one()).collect();
    took.sort();
    let (min, median, max) = (took[0], took[ROUNDS / 2], took[ROUNDS - 1]);
    println!("without a leader for {min:?} to {max:?}, median {median:?}");
    let config = config();
    let lease = Duration::from_millis(config.election_timeout_max);
    assert!(min >= lease.mul_f64(0.85), "{min:?}: the lease was not waited for");
    assert!(median <= lease + Duration::from_millis(config.election_timeout_max), "{median:?}");
}
