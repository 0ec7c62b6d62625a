//! When a follower asks to lead.
//!
//! openraft's follower waits until the lease of its leader has run out, and then for a random
//! election timeout. This task asks sooner, and always with a pre-vote, which changes nothing and
//! which a voter refuses that still holds to the leader.
//!
//! - A process that has ended has no sockets. A follower that misses a heartbeat connects to its
//!   leader's port for peers. If the leader's system refuses, no process listens there, and the
//!   follower gives up the lease that it holds. Each voter finds this out by itself: what another
//!   node says ends no lease.
//! - A leader that is frozen, or cut off, refuses nothing. When its lease has run out, followers
//!   ask without waiting any longer.
//!
//! Followers take turns, so that they do not divide the votes. Each asks a few times, then leaves
//! it to openraft's timers, which go on meanwhile. Raft's safety depends on neither: a lease only
//! keeps voters from changing a leader that works, and reads are confirmed without one.

use std::sync::Arc;
use std::time::Duration;

use openraft::Instant as _;
use openraft::raft::TransferLeaderRequest;
use openraft::type_config::alias::{InstantOf, VoteOf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Local;
use crate::raft::{HEARTBEAT_INTERVAL, LEADER_LEASE, Metrics, NodeId, TypeConfig};

type Instant = InstantOf<TypeConfig>;

/// A leader that has been silent for so long has missed a heartbeat. (openraft sends one at the
/// tick after it is due, and ticks five times in an interval.)
const OVERDUE: Duration = HEARTBEAT_INTERVAL.saturating_add(Duration::from_millis(75));
/// Between two looks at a leader that is silent.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// How long a connection to the leader's port may take. A port that does not answer refuses
/// nothing.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a follower has for its election before the next one asks: several times what the two
/// rounds of messages and the sync of two votes take.
const TURN: Duration = Duration::from_millis(100);
/// How often a follower asks while it hears nothing.
const MAX_ASKED: u32 = 4;
/// How long after the lease the first follower asks: a leader that is only late may still be heard,
/// and its last message did not reach all followers at the same instant.
const LEASE_GRACE: Duration = Duration::from_millis(50);

/// Looks at the leader for as long as consensus runs.
pub(crate) async fn succeed_leader(local: Arc<Local>) {
    let (mut silence, mut probe) = (None, Probe::default());
    loop {
        let Some(place) = Place::of(&local) else {
            silence = None;
            sleep(HEARTBEAT_INTERVAL).await;
            continue;
        };
        let Ok(followed) = local.raft.with_raft_state(Followed::of).await else { return };
        let pause = match followed.filter(|followed| followed.leader() == place.leader) {
            Some(followed) => {
                let silence = Silence::kept(&mut silence, followed);
                look_at(&local, &place, silence, &mut probe).await
            }
            None => HEARTBEAT_INTERVAL,
        };
        sleep(pause).await;
    }
}

/// Does what is due; answers when to look again.
async fn look_at(local: &Local, place: &Place, silence: &mut Silence, probe: &mut Probe) -> Duration {
    let now = Instant::now();
    match silence.step(place, now) {
        Step::Wait(pause) => return pause,
        // The leader is looked at again before anything follows from it.
        Step::Probe(patience) => {
            silence.is_refused = probe.is_refused(&place.addresses, patience).await;
            if silence.is_refused {
                return Duration::ZERO;
            }
        }
        Step::GiveUpLease => {
            give_up_lease(local, place, silence).await;
            silence.free_since = Some(now);
            return Duration::ZERO;
        }
        Step::Ask => {
            silence.asked += 1;
            ask(local, place, silence).await;
        }
    }
    LOOK_AGAIN
}

/// The voter's own lease, and in the term of this leader alone. (What openraft offers for this is
/// how a follower takes the news that its leader hands over to another node.)
async fn give_up_lease(local: &Local, place: &Place, silence: &Silence) {
    tracing::info!(
        "leader {} is gone: its system refuses connections to {}, and it has been silent for {:.2?}",
        place.leader,
        place.addresses.join(" and "),
        silence.followed.heard.elapsed()
    );
    let handed_over = TransferLeaderRequest::new(silence.followed.vote, place.leader, None);
    if let Err(e) = local.raft.handle_transfer_leader(handed_over).await {
        tracing::debug!("the lease of leader {} stays: {e}", place.leader);
    }
}

/// By a pre-vote.
async fn ask(local: &Local, place: &Place, silence: &Silence) {
    // A node that cannot store its own vote would hold up the others.
    if local.disk_hangs() || local.is_stopping() || local.health.fault().is_some() {
        return;
    }
    tracing::info!(
        "leader {} has been silent for {:.2?}: asking whether this node may lead",
        place.leader,
        silence.followed.heard.elapsed()
    );
    if let Err(e) = local.raft.trigger().elect(true).await {
        tracing::debug!("cannot ask for votes: {e}");
    }
}

/// A voter that follows, among the others.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    leader: NodeId,
    /// Where the leader may be listening for peers.
    addresses: Vec<String>,
    /// How many voters come before this one,
    rank: u32,
    /// of so many; the leader is not counted.
    followers: u32,
}

impl Place {
    /// `None`: this node is no voter, or follows no leader.
    fn of(local: &Local) -> Option<Self> {
        let told = |leader| local.peers.as_ref().and_then(|peers| peers.get(leader)).map(|p| &*p.raft_addr);
        local.with_metrics(|metrics| {
            let leader = metrics.current_leader.filter(|leader| *leader != metrics.id)?;
            let (rank, followers) = rank(metrics, leader)?;
            let known = &*metrics.membership_config.get_node(&leader)?.raft_addr;
            let told = told(leader).filter(|told| *told != known);
            let addresses = std::iter::once(known).chain(told).map(str::to_owned).collect();
            Some(Self { leader, addresses, rank, followers })
        })
    }
}

fn rank(metrics: &Metrics, leader: NodeId) -> Option<(u32, u32)> {
    let followers: Vec<_> = metrics.membership_config.voter_ids().filter(|id| *id != leader).collect();
    let rank = followers.iter().position(|id| *id == metrics.id)?;
    Some((u32::try_from(rank).ok()?, u32::try_from(followers.len()).ok()?))
}

/// The leader that a node holds to, and when it last heard from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Followed {
    vote: VoteOf<TypeConfig>,
    heard: Instant,
}

impl Followed {
    fn of(state: &openraft::RaftState<TypeConfig>) -> Option<Self> {
        let vote = *state.vote_ref();
        let heard = state.vote_last_modified().filter(|_| vote.is_committed())?;
        Some(Self { vote, heard })
    }

    fn leader(&self) -> NodeId {
        self.vote.leader_id().node_id
    }
}

/// What this node has done since it last heard from its leader.
#[derive(Debug)]
struct Silence {
    followed: Followed,
    /// The leader's port for peers refused a connection.
    is_refused: bool,
    /// When this node gave up the lease.
    free_since: Option<Instant>,
    asked: u32,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait(Duration),
    /// For so long at most.
    Probe(Duration),
    GiveUpLease,
    Ask,
}

impl Silence {
    fn since(followed: Followed) -> Self {
        Self { followed, is_refused: false, free_since: None, asked: 0 }
    }

    /// The same silence, or a new one if the leader was heard, or is another.
    fn kept(silence: &mut Option<Self>, followed: Followed) -> &mut Self {
        if let Some(old) = silence.take_if(|old| old.followed != followed)
            && old.followed.vote == followed.vote
        {
            let lasted = followed.heard - old.followed.heard;
            if lasted > OVERDUE {
                tracing::debug!("heard from the leader after {} ms of silence", lasted.as_millis());
            }
        }
        silence.get_or_insert_with(|| Self::since(followed))
    }

    fn step(&self, place: &Place, now: Instant) -> Step {
        let overdue = self.followed.heard + OVERDUE;
        if now < overdue {
            return Step::Wait(overdue - now);
        }
        if self.asked >= MAX_ASKED {
            return Step::Wait(HEARTBEAT_INTERVAL);
        }
        let turn = TURN * (place.rank + self.asked * place.followers);
        let turn = self.free_since.unwrap_or(self.followed.heard + LEADER_LEASE + LEASE_GRACE) + turn;
        match self.free_since {
            _ if now >= turn => Step::Ask,
            Some(_) => Step::Wait(turn - now),
            None if self.is_refused => Step::GiveUpLease,
            None => Step::Probe(PROBE_TIMEOUT.min(turn - now)),
        }
    }
}

/// Finds out whether a port refuses. At most one attempt is under way: a name server that does not
/// answer holds up one, and not one for each look.
#[derive(Debug, Default)]
struct Probe(Option<JoinHandle<bool>>);

impl Probe {
    /// Whether each of `addresses` refuses a connection, as a system does when no process listens;
    /// no, if that is not known within `patience`.
    async fn is_refused(&mut self, addresses: &[String], patience: Duration) -> bool {
        if self.0.as_ref().is_some_and(|late| !late.is_finished()) {
            return false;
        }
        let addresses = addresses.to_vec();
        let mut attempt = tokio::spawn(async move {
            for address in &addresses {
                if !refuses(address).await {
                    return false;
                }
            }
            !addresses.is_empty()
        });
        match timeout(patience, &mut attempt).await {
            Ok(refused) => refused.unwrap_or(false),
            Err(_) => {
                self.0 = Some(attempt);
                false
            }
        }
    }
}

/// A name may stand for several addresses; each has to refuse.
async fn refuses(address: &str) -> bool {
    let Ok(found) = lookup_host(address).await else { return false };
    let mut refused = false;
    for address in found {
        match timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused => refused = true,
            _ => return false,
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Place = at_rank(0);
    const SECOND: Place = at_rank(1);

    const fn at_rank(rank: u32) -> Place {
        Place { leader: 1, addresses: Vec::new(), rank, followers: 2 }
    }

    fn silence() -> (Silence, Instant) {
        let heard = Instant::now();
        (Silence::since(Followed { vote: openraft::Vote::new_committed(3, 1), heard }), heard)
    }

    #[test]
    fn a_leader_that_is_heard_is_left_alone_and_one_that_is_late_is_probed() {
        let (silence, heard) = silence();
        assert_eq!(
            silence.step(&FIRST, heard + HEARTBEAT_INTERVAL),
            Step::Wait(OVERDUE - HEARTBEAT_INTERVAL)
        );
        assert_eq!(silence.step(&FIRST, heard + OVERDUE), Step::Probe(PROBE_TIMEOUT));
        // A port that does not answer must not take the follower's turn.
        assert_eq!(silence.step(&FIRST, heard + LEADER_LEASE), Step::Probe(LEASE_GRACE));
    }

    #[test]
    fn when_the_lease_has_run_out_followers_ask_in_turn_and_a_few_times() {
        let (mut silence, heard) = silence();
        let free = heard + LEADER_LEASE + LEASE_GRACE;
        assert_eq!(silence.step(&FIRST, free), Step::Ask);
        assert_eq!(silence.step(&SECOND, free), Step::Probe(TURN));
        assert_eq!(silence.step(&SECOND, free + TURN), Step::Ask);
        silence.asked = 1;
        assert_eq!(silence.step(&FIRST, free + TURN), Step::Probe(TURN));
        assert_eq!(silence.step(&FIRST, free + TURN * 2), Step::Ask);
        silence.asked = MAX_ASKED;
        assert_eq!(silence.step(&FIRST, free + TURN * 100), Step::Wait(HEARTBEAT_INTERVAL));
    }

    #[test]
    fn a_port_that_refuses_ends_the_lease_and_then_followers_ask_in_turn() {
        let (mut silence, heard) = silence();
        let now = heard + OVERDUE;
        silence.is_refused = true;
        assert_eq!(silence.step(&SECOND, now), Step::GiveUpLease);
        silence.free_since = Some(now);
        assert_eq!(silence.step(&FIRST, now), Step::Ask);
        assert_eq!(silence.step(&SECOND, now), Step::Wait(TURN));
        assert_eq!(silence.step(&SECOND, now + TURN), Step::Ask);
    }

    /// What was found out about one silence counts for no other.
    #[test]
    fn a_leader_that_is_heard_again_is_not_gone() {
        let (mut first, heard) = silence();
        first.is_refused = true;
        let vote = first.followed.vote;
        let mut kept = Some(first);
        assert!(Silence::kept(&mut kept, Followed { vote, heard }).is_refused);
        let again = Followed { vote, heard: heard + OVERDUE * 2 };
        assert!(!Silence::kept(&mut kept, again).is_refused);
        assert_eq!(kept.unwrap().followed, again);
    }

    /// A process that is gone, one that is frozen (its system accepts, up to the backlog), one of
    /// several addresses, and a name that stands for nothing.
    #[tokio::test]
    async fn only_a_port_that_refuses_counts() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap().to_string();
        let closed = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap().to_string()
        };
        let mut probe = Probe::default();
        for (addresses, refused) in [
            (vec![closed.clone()], true),
            (vec![open.clone()], false),
            (vec![closed.clone(), open], false),
            (vec![closed, "no-such-name.invalid:1".to_owned()], false),
            (vec![], false),
        ] {
            assert_eq!(probe.is_refused(&addresses, PATIENCE).await, refused, "{addresses:?}");
        }
    }
}
