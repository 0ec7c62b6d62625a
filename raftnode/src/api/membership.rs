//! Changing who belongs to the cluster, where they are, and who leads it, and snapshots on request.
//!
//! Every change runs in a task of its own, so that it ends whatever becomes of the request, and one
//! at a time. What is left half done by a leader that fails is ended by the next
//! (`standing/steward.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use openraft::{ChangeMembers, LogIdOptionExt as _};
use proto::node::v1 as pb;
use tonic::Status;

use super::call::Call;
use super::change::{alone, ask, change, check_addresses, run_to_its_end};
use super::forward::{Effect, Hop};
use super::header::header;
use super::learner::add_learner;
use super::server::Api;
use super::status_codes::{self, Failure};
use super::status_report::members;
use super::{quorum, validate};
use crate::raft::{Member, Metrics, NodeId};
use crate::standing::{HandoverError, Local, answers, hand_over, successor};

/// How long another node may take to take over leadership.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(3);

impl Api {
    pub(crate) fn add_learner<'a>(
        &'a self,
        call: &'a Call,
        request: pb::AddLearnerRequest,
    ) -> BoxFuture<'a, Result<pb::AddLearnerResponse, Status>> {
        Box::pin(async move {
            let id = validate::node_id(request.id)?;
            let member = Member::at(
                validate::address("raft", &request.raft_addr)?,
                validate::address("client", &request.client_addr)?,
            );
            if member.raft_addr == member.client_addr {
                return Err(Status::invalid_argument(format!(
                    "{} is given for peers and for clients; a node has a port for each",
                    member.raft_addr
                )));
            }
            let here = async || {
                let adding = add_learner(Arc::clone(&self.local), *call, id, member.clone());
                let (metrics, catching_up) = run_to_its_end(call, adding).await?;
                Ok(pb::AddLearnerResponse {
                    header: header(&self.local),
                    members: members(&metrics),
                    catching_up,
                })
            };
            let there = async |hop: Hop| {
                Ok(hop.cluster().add_learner(hop.request(request.clone())).await?.into_inner())
            };
            self.on_leader(call, call.remaining(), Effect::Write, here, there).await
        })
    }

    pub(crate) fn change_membership<'a>(
        &'a self,
        call: &'a Call,
        request: pb::ChangeMembershipRequest,
    ) -> BoxFuture<'a, Result<pb::ChangeMembershipResponse, Status>> {
        Box::pin(async move {
            if request.promote.is_empty() && request.remove.is_empty() {
                return Err(Status::invalid_argument("name at least one node to promote or to remove"));
            }
            let here = async || {
                let changing = change_voters(Arc::clone(&self.local), *call, request.clone());
                let metrics = run_to_its_end(call, changing).await?;
                Ok(pb::ChangeMembershipResponse { header: header(&self.local), members: members(&metrics) })
            };
            let there = async |hop: Hop| {
                Ok(hop.cluster().change_membership(hop.request(request.clone())).await?.into_inner())
            };
            self.on_leader(call, call.remaining(), Effect::Write, here, there).await
        })
    }

    pub(crate) fn set_address<'a>(
        &'a self,
        call: &'a Call,
        request: pb::SetAddressRequest,
    ) -> BoxFuture<'a, Result<pb::SetAddressResponse, Status>> {
        Box::pin(async move {
            validate::node_id(request.id)?;
            for (what, address) in [("raft", &request.raft_addr), ("client", &request.client_addr)] {
                if !address.is_empty() {
                    validate::address(what, address)?;
                }
            }
            let here = async || {
                let changing = set_address(Arc::clone(&self.local), *call, request.clone());
                let metrics = run_to_its_end(call, changing).await?;
                Ok(pb::SetAddressResponse { header: header(&self.local), members: members(&metrics) })
            };
            let there = async |hop: Hop| {
                Ok(hop.cluster().set_address(hop.request(request.clone())).await?.into_inner())
            };
            self.on_leader(call, call.remaining(), Effect::Write, here, there).await
        })
    }

    pub(crate) fn transfer_leader<'a>(
        &'a self,
        call: &'a Call,
        request: pb::TransferLeaderRequest,
    ) -> BoxFuture<'a, Result<pb::TransferLeaderResponse, Status>> {
        Box::pin(async move {
            let to = validate::node_id(request.to)?;
            let here = || self.transfer_here(call, to);
            let there =
                async |hop: Hop| Ok(hop.cluster().transfer_leader(hop.request(request)).await?.into_inner());
            self.on_leader(call, call.remaining(), Effect::Write, here, there).await
        })
    }

    async fn transfer_here(&self, call: &Call, to: NodeId) -> Result<pb::TransferLeaderResponse, Failure> {
        let metrics = self.local.metrics();
        let mut leader_id = to;
        if to != self.local.id {
            check_heir(&metrics, to)?;
            let leader = hand_over(&self.local.raft, to, call.remaining().min(HANDOVER_TIMEOUT)).await;
            leader_id = leader.map_err(|e| Failure::Final(handover_status(&e)))?;
        }
        let header = header(&self.local);
        Ok(pb::TransferLeaderResponse { header, leader_id })
    }

    pub(crate) fn snapshot<'a>(
        &'a self,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<pb::SnapshotResponse, Status>> {
        Box::pin(async move {
            status_codes::check_affiliation(&self.local)?;
            let applied = self.local.with_metrics(|metrics| metrics.last_applied.index()).unwrap_or_default();
            let raft = &self.local.raft;
            raft.trigger().snapshot().await.map_err(|fatal| status_codes::stopped(&fatal))?;
            let built = |metrics: &Metrics| metrics.snapshot.index() >= Some(applied);
            match raft.wait(Some(call.remaining())).metrics(built, "the snapshot").await {
                Ok(metrics) => Ok(pb::SnapshotResponse {
                    header: header(&self.local),
                    snapshot_index: metrics.snapshot.index().unwrap_or_default(),
                }),
                Err(_) => Err(Status::deadline_exceeded(
                    "the snapshot is not finished yet; it is still being built",
                )),
            }
        })
    }
}

async fn change_voters(
    local: Arc<Local>,
    call: Call,
    request: pb::ChangeMembershipRequest,
) -> Result<Metrics, Failure> {
    let _alone = alone(&local, &call).await?;
    let metrics = quorum::of_leader(&local)?;
    let changes = changes(&local, &metrics, &request).await?;
    let Some(changes) = changes else { return Ok(metrics) };
    if request.remove.contains(&local.id) {
        leave_leadership(&local, &metrics, &request.remove).await?;
    }
    change(&local, changes).await
}

/// A leader does not preside over its own removal if another voter can. Always `Err` when
/// leadership has gone: the new leader makes the change.
async fn leave_leadership(local: &Local, metrics: &Metrics, leaving: &[NodeId]) -> Result<(), Failure> {
    let Some(heir) = successor(metrics, leaving) else { return Ok(()) };
    match hand_over(&local.raft, heir, HANDOVER_TIMEOUT).await {
        Ok(leader) => Err(Failure::NotApplied(status_codes::no_leader(format_args!(
            "node {leader} has just taken over"
        )))),
        Err(e) => Err(Failure::NotApplied(status_codes::no_leader(e))),
    }
}

/// The change openraft is asked for: promotions first, so that a voter can be replaced in one go.
/// `None`: all is so already.
async fn changes(
    local: &Local,
    metrics: &Metrics,
    request: &pb::ChangeMembershipRequest,
) -> Result<Option<ChangeMembers<NodeId, Member>>, Status> {
    let pb::ChangeMembershipRequest { promote, remove, force } = request;
    let membership = metrics.membership_config.membership();
    let known = |id: &NodeId| membership.get_node(id).is_some();
    if let Some(stranger) = promote.iter().find(|id| !known(id)) {
        return Err(Status::failed_precondition(format!(
            "node {stranger} is not a member; run kvcli cluster add-learner first"
        )));
    }
    if let Some(stranger) = remove.iter().find(|id| !known(id)) {
        return Err(Status::failed_precondition(format!("node {stranger} is not a member")));
    }
    if let Some(torn) = promote.iter().find(|id| remove.contains(id)) {
        return Err(Status::invalid_argument(format!("node {torn} is to be promoted and removed")));
    }
    let voters: BTreeSet<_> = membership.voter_ids().collect();
    let promoted: BTreeSet<_> = promote.iter().copied().filter(|id| !voters.contains(id)).collect();
    let (leaving, learners): (BTreeSet<_>, BTreeSet<_>) =
        remove.iter().copied().partition(|id| voters.contains(id));
    if promoted.is_empty() && remove.is_empty() {
        return Ok(None);
    }
    quorum::check_change(local, &promoted, &leaving, *force).await?;
    Ok(Some(ChangeMembers::Batch(vec![
        ChangeMembers::AddVoterIds(promoted),
        ChangeMembers::RemoveVoters(leaving),
        ChangeMembers::RemoveNodes(learners),
    ])))
}

async fn set_address(
    local: Arc<Local>,
    call: Call,
    request: pb::SetAddressRequest,
) -> Result<Metrics, Failure> {
    let _alone = alone(&local, &call).await?;
    let metrics = quorum::of_leader(&local)?;
    let id = request.id;
    let known = metrics.membership_config.get_node(&id).cloned();
    let known = known.ok_or_else(|| Status::failed_precondition(format!("node {id} is not a member")))?;
    let or = |new: String, old: &str| if new.is_empty() { old.to_owned() } else { new };
    let moved = Member {
        raft_addr: or(request.raft_addr, &known.raft_addr),
        client_addr: or(request.client_addr, &known.client_addr),
        ..known.clone()
    };
    if moved == known {
        return Ok(metrics);
    }
    if request.force {
        check_addresses(&metrics, id, &moved)?;
    } else {
        // What answers there is asked, not what the membership has of others: two members may have
        // taken each other's addresses.
        let found = ask(&local, id, &moved).await?;
        let theirs = found.member.and_then(|member| Some((member.cluster_id, member.incarnation?)));
        let ours = known.incarnation().map(|incarnation| (known.cluster_id(), incarnation));
        if theirs != ours {
            return Err(Status::failed_precondition(format!(
                "the node at {} is not the member that node {id} was; nothing was changed",
                moved.raft_addr
            ))
            .into());
        }
    }
    change(&local, ChangeMembers::SetNodes([(id, moved)].into())).await
}

fn check_heir(metrics: &Metrics, to: NodeId) -> Result<(), Status> {
    if !metrics.membership_config.voter_ids().any(|id| id == to) {
        return Err(Status::failed_precondition(format!("node {to} is not a voter")));
    }
    if !answers(metrics, to) {
        return Err(Status::failed_precondition(format!(
            "node {to} does not answer; leadership stays where it is"
        )));
    }
    Ok(())
}

fn handover_status(error: &HandoverError) -> Status {
    match error {
        HandoverError::Timeout { .. } => Status::deadline_exceeded(error.to_string()),
        HandoverError::Stopped(_) => Status::unknown(error.to_string()),
    }
}
