//! What this node is to a cluster, beyond what its own disk says.
//!
//! A node whose directory was wiped, or that was removed, hears no leader: it refuses what is meant
//! for the member that it was, and peers that are right ignore it. So a node that hears no leader
//! asks the nodes it knows who they are, and what they know of it. A node that knows no others, or
//! none that answer, is told by the requests that it refuses: they name the cluster, and the data
//! directory that it should have.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use openraft::LogIdOptionExt as _;

use super::Local;
use crate::config::Peers;
use crate::peer::{self, Description};
use crate::raft::NodeId;

/// How often a node that hears no leader asks.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Nodes asked at most.
const MAX_ASKED: usize = 64;
/// A request that was refused tells something for this long. A leader repeats it sooner.
const CLAIM_MAX_AGE: Duration = Duration::from_secs(10);

/// What this node is to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affiliation {
    /// It belongs to none, and may found one with its peers.
    Founder,
    /// It belongs to none and waits to be added; to this one, if its peers have said so.
    Waiting(Option<ClusterId>),
    /// It has joined, and has nothing of the cluster yet.
    Joining(ClusterId),
    /// It belongs to a cluster, as far as it knows.
    Member(ClusterId),
    /// The cluster knows its id with another data directory.
    Replaced(ClusterId),
    /// The cluster does not have it any more.
    Removed(ClusterId),
    /// It was made a first member of a cluster that never began, and its peers have founded
    /// another.
    Stranded { joined: ClusterId, peers: ClusterId },
}

/// What the others have said, to be believed as long as this node is what it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    own: Option<MemberIdentity>,
    affiliation: Affiliation,
}

/// For which member of which cluster a request was that this node refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) cluster: ClusterId,
    pub(crate) incarnation: Option<Incarnation>,
}

/// The last that was heard.
#[derive(Debug, Default)]
pub(crate) struct Hearsay {
    heard: Mutex<Option<Heard>>,
    claimed: Mutex<Option<(Claim, Instant)>>,
    turned_away: Mutex<Option<String>>,
}

impl Hearsay {
    fn get(&self, own: Option<MemberIdentity>) -> Option<Affiliation> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.filter(|heard| heard.own == own).map(|heard| heard.affiliation)
    }

    fn set(&self, heard: Option<Heard>) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }

    /// A request was refused that was for this node's id.
    pub(crate) fn claimed(&self, claim: Claim) {
        *self.claimed.lock().unwrap_or_else(PoisonError::into_inner) = Some((claim, Instant::now()));
    }

    /// Why the cluster that this node was told to join has not taken it in.
    pub(super) fn turned_away(&self, reason: &str) {
        *self.turned_away.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    fn claim(&self) -> Option<Claim> {
        let claimed = *self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.filter(|(_, at)| at.elapsed() < CLAIM_MAX_AGE).map(|(claim, _)| claim)
    }
}

impl Affiliation {
    /// Whether this node answers requests of clients, or passes them on.
    #[must_use]
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::Member(_))
    }
}

impl Local {
    /// What this node is to a cluster.
    #[must_use]
    pub(crate) fn affiliation(&self) -> Affiliation {
        let own = self.identity().member();
        match (own, self.hearsay.get(own)) {
            (_, Some(heard)) => heard,
            (Some(member), None) if self.is_initialized() => Affiliation::Member(member.cluster_id),
            (Some(member), None) => Affiliation::Joining(member.cluster_id),
            (None, None) if self.may_found() => Affiliation::Founder,
            (None, None) => Affiliation::Waiting(None),
        }
    }

    fn may_found(&self) -> bool {
        self.peers.as_ref().is_some_and(|peers| peers.get(self.id).is_some())
    }

    /// Asks the others, as long as this node hears no leader; runs until the node ends.
    pub(crate) async fn watch_affiliation(self: Arc<Self>) {
        let mut logged = None;
        loop {
            let own = self.identity().member();
            if own.is_some() && self.leader_watch.is_alive() {
                self.hearsay.set(None);
            } else {
                let answers = self.ask_the_others().await;
                // New nodes at all addresses of the peer list are about to found a cluster,
                // whatever another one may think of this address.
                let founds = own.is_none() && are_all_new(&answers);
                let claim = self.hearsay.claim().filter(|_| !founds);
                match self.judge(own, &answers).or_else(|| judge_claim(own, claim?)) {
                    Some(affiliation) => self.hearsay.set(Some(Heard { own, affiliation })),
                    None if founds => self.hearsay.set(None),
                    None => {}
                }
            }
            let now = self.affiliation();
            if logged != Some(now) {
                self.log(now);
                logged = Some(now);
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }

    async fn ask_the_others(&self) -> Vec<Description> {
        let listed = self.peers.iter().flat_map(Peers::iter).map(|(id, peer)| (id, peer.raft_addr.clone()));
        let mut known: BTreeSet<(NodeId, String)> = listed.collect();
        self.with_metrics(|metrics| {
            let members = metrics.membership_config.nodes();
            known.extend(members.map(|(id, member)| (*id, member.raft_addr.clone())));
        });
        known.retain(|(id, _)| *id != self.id);
        let asked = known.iter().take(MAX_ASKED).map(|(id, address)| async move {
            peer::describe(&self.dialler, address, self.id).await.ok().filter(|answer| answer.node_id == *id)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// `None`: nothing new.
    fn judge(&self, own: Option<MemberIdentity>, answers: &[Description]) -> Option<Affiliation> {
        let index = self.with_metrics(|metrics| metrics.membership_config.log_id().index());
        judge(own, index.unwrap_or_default(), answers)
    }

    fn log(&self, affiliation: Affiliation) {
        match affiliation {
            Affiliation::Member(_) => {}
            Affiliation::Founder | Affiliation::Waiting(_) | Affiliation::Joining(_) => {
                tracing::info!("{}", self.describe_affiliation(affiliation));
            }
            Affiliation::Replaced(_) | Affiliation::Removed(_) | Affiliation::Stranded { .. } => {
                tracing::error!("{}", self.describe_affiliation(affiliation));
            }
        }
    }

    /// What it is and what to do, in words.
    #[must_use]
    pub(crate) fn describe_affiliation(&self, affiliation: Affiliation) -> String {
        let (id, own) = (self.id, &self.own);
        match affiliation {
            Affiliation::Founder => {
                "not initialised; run `kvcli cluster init` against any of the first nodes, once".to_owned()
            }
            Affiliation::Waiting(_) | Affiliation::Joining(_) if self.join.is_asked() => {
                self.describe_joining()
            }
            Affiliation::Waiting(cluster) => {
                let cluster = cluster.map_or_else(|| "a cluster".to_owned(), |id| format!("cluster {id}"));
                format!(
                    "waits to be added to {cluster}: run `kvcli cluster add-learner {id} {} {}` against one of its \
                     members",
                    own.raft_addr, own.client_addr
                )
            }
            Affiliation::Joining(cluster) if self.identity().member().is_some_and(is_first_member) => {
                format!(
                    "has joined cluster {cluster} and waits for its log; if the node that founded it has failed, run `kvcli \
                 cluster init` again"
                )
            }
            Affiliation::Joining(cluster) => format!("has joined cluster {cluster} and waits for its log"),
            Affiliation::Member(cluster) => format!("a member of cluster {cluster}"),
            Affiliation::Replaced(cluster) => format!(
                "cluster {cluster} knows node {id} with another data directory: this one was wiped, restored or replaced, \
                 and does not remember what node {id} has promised, so it takes no part; run `kvcli cluster remove {id}`, \
                 then start a node with a new id and an empty directory and add it"
            ),
            Affiliation::Stranded { joined, peers } => format!(
                "node {id} was made a member of cluster {joined}, which never began, and its peers belong to cluster {peers}; \
                 it stores nothing: stop it, empty its data directory, and start it again; if they do not take it in then, run \
                 `kvcli cluster add-learner {id} {} {}` against one of them",
                own.raft_addr, own.client_addr
            ),
            Affiliation::Removed(cluster) => format!(
                "node {id} was removed from cluster {cluster} and takes no part in it any more; stop it; a node that is to \
                 take its place needs a new id and an empty directory"
            ),
        }
    }
}

impl Local {
    fn describe_joining(&self) -> String {
        let asked = self.join.others(&self.own).join(", ");
        let turned_away = self.hearsay.turned_away.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let so_far = turned_away.unwrap_or_else(|| "no answer yet".to_owned());
        format!("asks to be taken into the cluster of {asked} (--join); so far: {so_far}")
    }
}

/// Whether it got its identity when the cluster was founded, not when it was added to one that ran.
#[must_use]
pub(crate) fn is_first_member(member: MemberIdentity) -> bool {
    member.incarnation.is_none_or(|incarnation| incarnation.since() == 0)
}

/// What a request says that was refused; `None`: nothing new.
fn judge_claim(own: Option<MemberIdentity>, claim: Claim) -> Option<Affiliation> {
    let Claim { cluster, incarnation } = claim;
    match own {
        None if incarnation.is_some() => Some(Affiliation::Replaced(cluster)),
        // The leader has not taken it in yet.
        None => Some(Affiliation::Joining(cluster)),
        // A member that lags may know an earlier directory only.
        Some(own) if own.cluster_id == cluster && incarnation > own.incarnation => {
            Some(Affiliation::Replaced(cluster))
        }
        Some(_) => None,
    }
}

/// What they belonged to before is not there any more.
fn are_all_new(answers: &[Description]) -> bool {
    !answers.is_empty() && answers.iter().all(|answer| !answer.initialized)
}

fn judge(own: Option<MemberIdentity>, own_index: u64, answers: &[Description]) -> Option<Affiliation> {
    let same = |cluster: ClusterId| own.is_none_or(|own| own.cluster_id == cluster);
    let answers = answers.iter().filter(|answer| answer.initialized);
    let answers = answers.filter_map(|answer| Some((answer.member?.cluster_id, answer)));
    let (of_this, of_others): (Vec<_>, Vec<_>) = answers.partition(|(cluster, _)| same(*cluster));
    // The newest membership is right.
    let Some((cluster, newest)) = of_this.into_iter().max_by_key(|(_, answer)| answer.membership_index)
    else {
        let joined = own.filter(|own| own_index == 0 && is_first_member(*own))?.cluster_id;
        return of_others.first().map(|(peers, _)| Affiliation::Stranded { joined, peers: *peers });
    };
    let incarnation = own.and_then(|own| own.incarnation);
    match (own, newest.asker) {
        (None, None) => Some(Affiliation::Waiting(Some(cluster))),
        // The leader has not taken it in yet.
        (None, Some(None)) => Some(Affiliation::Joining(cluster)),
        (None, Some(Some(_))) => Some(Affiliation::Replaced(cluster)),
        (Some(_), Some(Some(known))) if incarnation != Some(known) => Some(Affiliation::Replaced(cluster)),
        // It was made a member, and the leader failed before it could be one.
        (Some(_), None) if own_index == 0 => Some(Affiliation::Joining(cluster)),
        (Some(_), None) if newest.membership_index >= own_index => Some(Affiliation::Removed(cluster)),
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bits(1);
    const OWN: Incarnation = Incarnation::from_bits(5);

    fn own() -> Option<MemberIdentity> {
        Some(MemberIdentity { cluster_id: CLUSTER, incarnation: Some(OWN) })
    }

    fn answer(cluster: u128, asker: Option<Option<Incarnation>>, membership_index: u64) -> Description {
        let member = MemberIdentity { cluster_id: ClusterId::from_bits(cluster), incarnation: None };
        Description {
            node_id: 2,
            member: Some(member),
            initialized: true,
            asker,
            membership_index,
            schema: 1,
            application: "app".to_owned(),
        }
    }

    #[test]
    fn a_node_without_a_cluster_learns_whether_it_is_awaited_or_was_wiped() {
        assert_eq!(judge(None, 0, &[]), None);
        let silent = Description { initialized: false, ..answer(1, None, 0) };
        assert_eq!(judge(None, 0, &[silent]), None);
        assert_eq!(judge(None, 0, &[answer(1, None, 3)]), Some(Affiliation::Waiting(Some(CLUSTER))));
        assert_eq!(judge(None, 0, &[answer(1, Some(None), 3)]), Some(Affiliation::Joining(CLUSTER)));
        let old = answer(1, None, 3);
        assert_eq!(
            judge(None, 0, &[answer(1, Some(Some(OWN)), 4), old]),
            Some(Affiliation::Replaced(CLUSTER))
        );
    }

    #[test]
    fn a_member_learns_that_it_was_removed_from_a_membership_that_is_not_older_than_its_own() {
        let known = Some(Some(OWN));
        assert_eq!(judge(own(), 7, &[answer(1, known, 9), answer(1, None, 8)]), None);
        assert_eq!(
            judge(own(), 7, &[answer(1, known, 7), answer(1, None, 8)]),
            Some(Affiliation::Removed(CLUSTER))
        );
        assert_eq!(judge(own(), 7, &[answer(1, None, 6)]), None, "a peer that lags");
        assert_eq!(judge(own(), 7, &[answer(2, None, 9)]), None, "another cluster at a peer's address");
        let other = Some(Some(Incarnation::from_bits(6)));
        assert_eq!(judge(own(), 7, &[answer(1, other, 9)]), Some(Affiliation::Replaced(CLUSTER)));
    }

    /// Found by a reviewer: a founder that had joined its own cluster before the others had, and
    /// died, waited for the log of a cluster that did not exist, and nothing named the cure.
    #[test]
    fn a_first_member_of_a_cluster_that_never_began_is_stranded_once_its_peers_run_another() {
        let stranded = Affiliation::Stranded { joined: CLUSTER, peers: ClusterId::from_bits(2) };
        assert_eq!(judge(own(), 0, &[answer(2, None, 9)]), Some(stranded));
        assert_eq!(
            judge(own(), 0, &[answer(2, None, 9), answer(1, None, 3)]),
            Some(Affiliation::Joining(CLUSTER))
        );
        let new = Description { initialized: false, ..answer(2, None, 0) };
        assert_eq!(judge(own(), 0, &[new]), None);
        let added = own().map(|own| MemberIdentity { incarnation: Some(Incarnation::random(7)), ..own });
        assert_eq!(judge(added, 0, &[answer(2, None, 9)]), None, "its cluster ran when it was added");
    }

    /// Found by a reviewer: a wiped member that was started without a peer list asked to be added,
    /// although its cluster had been sending it heartbeats all the time.
    #[test]
    fn a_node_that_asks_nobody_learns_from_what_it_refuses() {
        let claim = |incarnation| Claim { cluster: CLUSTER, incarnation };
        assert_eq!(judge_claim(None, claim(Some(OWN))), Some(Affiliation::Replaced(CLUSTER)));
        assert_eq!(judge_claim(None, claim(None)), Some(Affiliation::Joining(CLUSTER)));
        let later = Some(Incarnation::from_bits(6));
        assert_eq!(judge_claim(own(), claim(later)), Some(Affiliation::Replaced(CLUSTER)));
        for stale in [Some(Incarnation::from_bits(4)), Some(OWN), None] {
            assert_eq!(judge_claim(own(), claim(stale)), None, "{stale:?}");
        }
        let other = Claim { cluster: ClusterId::from_bits(2), incarnation: later };
        assert_eq!(judge_claim(own(), other), None, "a member never changes its cluster");
    }
}
