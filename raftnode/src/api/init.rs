//! Cluster.Init: the nodes of a peer list become a cluster.
//!
//! The founder, of all reachable nodes of the list the one with the smallest id, draws the
//! cluster's id, has a majority promise to join no other, makes them members, and only then writes
//! the first entry. So of two founders at most one gets a majority, and a node that was wiped or
//! waits to be added founds nothing: its peers belong to a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use openraft::errors::{InitializeError, RaftError};
use openraft::vote::RaftLeaderId as _;
use proto::node::v1 as pb;
use tonic::Status;

use super::call::Call;
use super::forward::Effect;
use super::header::header;
use super::route;
use super::server::Api;
use super::status_codes::Failure;
use super::status_report::members;
use crate::config::Peers;
use crate::peer::{self, AskError, Description, RESERVATION};
use crate::raft::{Member, NodeId};
use crate::standing::{Affiliation, is_first_member};

/// How long the answer waits for the new cluster's first leader, and at most half of the request's
/// time.
const FIRST_LEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it then waits until all its nodes have heard of that leader ...
const SETTLE_TIMEOUT: Duration = Duration::from_millis(1500);
/// ... and how often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A founder that has not written the first entry this long after the first promise gives up: the
/// promises have half of their time left then.
const FOUND_WITHIN: Duration = Duration::from_secs(RESERVATION.as_secs() / 2);

/// What the peers said about themselves; those that are silent are missing.
type Survey = BTreeMap<NodeId, Description>;

impl Api {
    pub(crate) fn init<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<pb::InitResponse, Status>> {
        Box::pin(async move {
            if self.local.is_initialized() {
                return self.initialized(call, true).await;
            }
            let peers = self.founding_peers()?;
            let survey = self.survey(&peers).await?;
            // This node's cluster runs, and its first entry has not come here yet.
            let mut running = survey.iter().filter(|(id, found)| **id != self.local.id && found.initialized);
            if let Some((id, member)) = running.find_map(|(id, _)| Some((*id, peers.get(*id)?))) {
                return self.pass_on(call, id, member).await;
            }
            let first =
                survey.keys().next().copied().filter(|first| *first < self.local.id && !call.forwarded);
            if let Some((first, member)) = first.and_then(|first| Some((first, peers.get(first)?))) {
                return self.pass_on(call, first, member).await;
            }
            let _alone = self.local.membership_change.lock().await;
            if self.local.is_initialized() {
                return self.initialized(call, true).await;
            }
            self.found(&peers, &survey).await?;
            self.initialized(call, false).await
        })
    }

    /// The peer list, if this node may found a cluster with it.
    fn founding_peers(&self) -> Result<Peers, Status> {
        let local = &self.local;
        let affiliation = local.affiliation();
        let may = match affiliation {
            Affiliation::Founder => true,
            // A founder that was interrupted after it had made this node a member.
            Affiliation::Joining(_) => {
                let listed = local.peers.as_ref().is_some_and(|peers| peers.get(local.id).is_some());
                // One that is in no cluster yet is awaited by one that runs.
                listed && local.identity().member().is_some_and(is_first_member)
            }
            _ => false,
        };
        match local.peers.clone().filter(|_| may) {
            Some(peers) => Ok(peers),
            None => Err(Status::failed_precondition(format!(
                "node {} founds no cluster: it {}",
                local.id,
                local.describe_affiliation(affiliation)
            ))),
        }
    }

    /// Asks all peers at once who they are. A peer that belongs to a running cluster ends the
    /// matter, unless it is this node's own.
    async fn survey(&self, peers: &Peers) -> Result<Survey, Status> {
        let own = self.local.id;
        let own_cluster = self.local.identity().member().map(|member| member.cluster_id);
        let asked = peers.iter().map(|(id, member)| async move {
            // A node need not be able to reach itself under the address that it advertises.
            let found = match id == own {
                true => peer::own_description(&self.local).ok(),
                false => peer::describe(&self.local.dialler, &member.raft_addr, own).await.ok(),
            };
            Some((id, member, found?))
        });
        let mut survey = Survey::new();
        for (id, member, found) in join_all(asked).await.into_iter().flatten() {
            if found.node_id != id {
                return Err(Status::failed_precondition(format!(
                    "at {}, where the peer list has node {id}, there is node {}; correct --peers",
                    member.raft_addr, found.node_id
                )));
            }
            // Or is about to receive the log of one that has added it.
            let runs = |member: &MemberIdentity| found.initialized || !is_first_member(*member);
            let is_own =
                |member: &MemberIdentity| found.initialized && own_cluster == Some(member.cluster_id);
            let foreign = |member: &MemberIdentity| id != own && runs(member) && !is_own(member);
            if let Some(cluster) = found.member.filter(foreign) {
                return Err(Status::failed_precondition(format!(
                    "node {id} of the peer list belongs to cluster {} already; add node {own} to it with `kvcli cluster add-learner \
                     {own} {} {}`, or start the nodes of a new cluster on empty directories",
                    cluster.cluster_id, self.local.own.raft_addr, self.local.own.client_addr
                )));
            }
            survey.insert(id, found);
        }
        Ok(survey)
    }

    /// All nodes that are asked at once agree on who founds.
    async fn pass_on(&self, call: &Call, to: NodeId, member: &Member) -> Result<pb::InitResponse, Status> {
        let addr = &member.raft_addr;
        let sent = async {
            let hop = self.forwarder.hop(call, None, to, addr).await?;
            let answer = hop.cluster().init(hop.request(pb::InitRequest {})).await;
            answer.map_err(|status| self.forwarder.judge(addr, (to, None), Effect::Once, status))
        };
        match route::within(call, Effect::Once, sent).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(Failure::Final(status) | Failure::NotApplied(status) | Failure::Lost(status)) => Err(status),
        }
    }

    async fn found(&self, peers: &Peers, survey: &Survey) -> Result<(), Status> {
        let began = tokio::time::Instant::now();
        let cluster_id = cluster_id(survey)?;
        let willing = self.reserve(peers, cluster_id).await?;
        let adopted = self.adopt(peers, survey, &willing, cluster_id).await?;
        // The founder writes the first entry, so it is one of them.
        if !adopted.contains_key(&self.local.id) {
            return Err(Status::unavailable("this node could not join itself; not initialised, see its log"));
        }
        if began.elapsed() > FOUND_WITHIN {
            return Err(Status::unavailable("the nodes took too long to join; not initialised, try again"));
        }
        let first = peers
            .iter()
            .map(|(id, member)| (id, member.clone().in_cluster(cluster_id, adopted.get(&id).copied())));
        match self.local.raft.initialize(first.collect::<BTreeMap<_, _>>()).await {
            Ok(()) => {
                tracing::info!(cluster_id = %cluster_id, %peers, "initialised the cluster");
                Ok(())
            }
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) if self.local.is_initialized() => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(has))) => {
                Err(voted_already(cluster_id, *has.vote.leader_id().node_id()))
            }
            Err(e) => Err(Status::internal(format!("cannot initialise: {e}"))),
        }
    }

    /// A majority promises to join no other cluster; answers who.
    async fn reserve(&self, peers: &Peers, cluster_id: ClusterId) -> Result<BTreeSet<NodeId>, Status> {
        let asked = peers.iter().map(|(id, member)| async move {
            let reserved = match id == self.local.id {
                true => {
                    self.local.enrollment.reserve(cluster_id).map_err(|e| AskError::Refused(e.to_string()))
                }
                false => peer::reserve(&self.local.dialler, &member.raft_addr, id, cluster_id).await,
            };
            (id, reserved)
        });
        majority(peers, join_all(asked).await)
    }

    /// Makes the nodes that have promised members; answers their ids and incarnations. The
    /// founder is the last, so that it never belongs to a cluster alone that its peers know nothing
    /// of.
    async fn adopt(
        &self,
        peers: &Peers,
        survey: &Survey,
        willing: &BTreeSet<NodeId>,
        cluster_id: ClusterId,
    ) -> Result<BTreeMap<NodeId, Incarnation>, Status> {
        // A founder that was interrupted had got this far.
        let known = |id| survey.get(&id).and_then(|found| found.member?.incarnation);
        let chosen: BTreeMap<_, _> =
            willing.iter().map(|id| (*id, known(*id).unwrap_or_else(|| Incarnation::random(0)))).collect();
        let own = self.local.id;
        let others = peers.iter().filter(|(id, _)| *id != own);
        let asked = others.filter_map(|(id, member)| Some((id, member, *chosen.get(&id)?)));
        let asked = asked.map(|(id, member, incarnation)| async move {
            (id, peer::adopt(&self.local.dialler, &member.raft_addr, id, cluster_id, incarnation).await)
        });
        let mut adopted = join_all(asked).await;
        let with_own = adopted.iter().filter(|(_, adopted)| adopted.is_ok()).count() + 1;
        if let Some(incarnation) = chosen.get(&own).filter(|_| with_own > peers.iter().count() / 2) {
            let member = MemberIdentity { cluster_id, incarnation: Some(*incarnation) };
            adopted.push((own, self.adopt_self(member).await));
        }
        let adopted = majority(peers, adopted)?;
        Ok(chosen.into_iter().filter(|(id, _)| adopted.contains(id)).collect())
    }

    async fn adopt_self(&self, member: MemberIdentity) -> Result<(), AskError> {
        let enrollment = Arc::clone(&self.local.enrollment);
        let adopted = tokio::task::spawn_blocking(move || enrollment.adopt(member)).await;
        let refused = |e: &dyn std::fmt::Display| AskError::Refused(e.to_string());
        adopted.map_err(|e| refused(&e))?.map_err(|e| refused(&e))
    }

    /// Waits a while for the leader that makes the cluster usable. Without one the cluster exists
    /// all the same: the answer then names no leader.
    async fn initialized(&self, call: &Call, already_initialized: bool) -> Result<pb::InitResponse, Status> {
        let within = FIRST_LEADER_TIMEOUT.min(call.remaining() / 2);
        if !self.local.wait_for_leader(within).await {
            tracing::warn!("initialised, but there is no leader yet: start a majority of the nodes");
        }
        self.wait_until_all_is_well().await;
        let members = members(&self.local.metrics());
        Ok(pb::InitResponse { header: header(&self.local), already_initialized, members })
    }
}

impl Api {
    /// So that the first look at the new cluster shows what it is: its nodes hear of the leader one
    /// by one.
    async fn wait_until_all_is_well(&self) {
        let settled = async {
            while self.overview.health().await.health() != pb::Health::Ok {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        // Without a node that is away it does not get well.
        drop(tokio::time::timeout(SETTLE_TIMEOUT, settled).await);
    }
}

/// A founder was interrupted between its first entry and the next ones, with this node's vote.
/// openraft founds nothing on a node that has voted, and rightly: the founder may be elected when
/// it comes back.
fn voted_already(cluster_id: ClusterId, founder: NodeId) -> Status {
    Status::failed_precondition(format!(
        "node {founder} has begun cluster {cluster_id}, and this node has voted for it: start node {founder}; if it is lost, \
         nothing was stored in that cluster: start the others on empty data directories, and run `kvcli cluster init` again"
    ))
}

/// A new id, or that of a founder that was interrupted.
fn cluster_id(survey: &Survey) -> Result<ClusterId, Status> {
    let known: BTreeMap<ClusterId, NodeId> =
        survey.iter().filter_map(|(id, found)| Some((found.member?.cluster_id, *id))).collect();
    let mut known = known.into_iter();
    match (known.next(), known.next()) {
        (None, _) => Ok(ClusterId::random()),
        (Some((cluster, _)), None) => Ok(cluster),
        (Some((one, a)), Some((other, b))) => Err(Status::failed_precondition(format!(
            "node {a} was made a member of cluster {one} and node {b} of cluster {other}, neither of which came to be; empty the data \
             directory of one of the two, it stores nothing"
        ))),
    }
}

/// Those that did as they were asked, if they are a majority of the peer list.
fn majority(peers: &Peers, answers: Vec<(NodeId, Result<(), AskError>)>) -> Result<BTreeSet<NodeId>, Status> {
    let all = peers.iter().count();
    let (willing, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, answer)| answer.is_ok());
    if willing.len() > all / 2 {
        return Ok(willing.into_iter().map(|(id, _)| id).collect());
    }
    let reasons: Vec<_> =
        others.into_iter().filter_map(|(id, answer)| Some(format!("node {id}: {}", answer.err()?))).collect();
    Err(Status::unavailable(format!(
        "{} of the {all} nodes of the peer list can join, which is no majority; not initialised, try again ({})",
        willing.len(),
        reasons.join("; ")
    )))
}
