//! Changing who belongs to the cluster and who leads it, and snapshots on request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::{ChangeMembers, LogIdOptionExt as _};
use proto::kv::v1 as kv;
use tonic::Status;

use super::call::Call;
use super::forward::Effect;
use super::header::header;
use super::route;
use super::server::Api;
use super::status_codes::{self, Failure};
use super::status_report::members;
use super::validate;
use crate::node::{HandoverError, answers, hand_over, successor};
use crate::raft::{Member, Metrics, NodeId};

/// How long another node may take to take over leadership.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(3);

impl Api {
    pub(super) async fn add_learner(
        &self,
        call: &Call,
        request: kv::AddLearnerRequest,
    ) -> Result<kv::AddLearnerResponse, Status> {
        let id = validate::node_id(request.id)?;
        let member = Member {
            raft_addr: validate::address("raft", &request.raft_addr)?,
            client_addr: validate::address("client", &request.client_addr)?,
        };
        let here =
            async || route::within(call, Effect::Write, self.add_learner_here(id, member.clone())).await;
        self.on_leader(call, call.remaining(), here, async |leader| {
            let addr = &leader.client_addr;
            let mut client = self.forwarder.cluster(addr)?;
            let sent = client.add_learner(call.forward(request.clone()));
            let answer =
                async { sent.await.map_err(|status| self.forwarder.judge(addr, Effect::Write, status)) };
            Ok(route::within(call, Effect::Write, answer).await?.into_inner())
        })
        .await
    }

    async fn add_learner_here(&self, id: NodeId, member: Member) -> Result<kv::AddLearnerResponse, Failure> {
        check_new_member(&self.local.metrics(), id, &member)?;
        let added =
            self.local.raft.add_learner(id, member, false).await.map_err(status_codes::write_failure)?;
        let caught_up = |metrics: &Metrics| {
            let matched = metrics.replication.as_ref().and_then(|replication| replication.get(&id)?.as_ref());
            // Whoever leads then will bring the learner up to date.
            !metrics.state.is_leader() || id == metrics.id || matched >= Some(&added.log_id)
        };
        let metrics = self.local.raft.wait(None).metrics(caught_up, "the learner to catch up").await;
        let metrics =
            metrics.map_err(|e| Status::unknown(format!("the learner was added, but then: {e}")))?;
        Ok(kv::AddLearnerResponse {
            header: header(&self.local, added.log_id.index),
            members: members(&metrics),
        })
    }

    pub(super) async fn change_membership(
        &self,
        call: &Call,
        request: kv::ChangeMembershipRequest,
    ) -> Result<kv::ChangeMembershipResponse, Status> {
        if request.promote.is_empty() && request.remove.is_empty() {
            return Err(Status::invalid_argument("name at least one node to promote or to remove"));
        }
        let here = async || route::within(call, Effect::Write, self.change_here(&request)).await;
        self.on_leader(call, call.remaining(), here, async |leader| {
            let addr = &leader.client_addr;
            let mut client = self.forwarder.cluster(addr)?;
            let sent = client.change_membership(call.forward(request.clone()));
            let answer =
                async { sent.await.map_err(|status| self.forwarder.judge(addr, Effect::Write, status)) };
            Ok(route::within(call, Effect::Write, answer).await?.into_inner())
        })
        .await
    }

    async fn change_here(
        &self,
        request: &kv::ChangeMembershipRequest,
    ) -> Result<kv::ChangeMembershipResponse, Failure> {
        let metrics = self.local.metrics();
        let changes = changes(&metrics, &request.promote, &request.remove)?;
        if request.remove.contains(&self.local.id) {
            self.leave_leadership(&metrics, &request.remove).await?;
        }
        let raft = &self.local.raft;
        let changed = raft.change_membership(changes, false).await.map_err(status_codes::write_failure)?;
        Ok(kv::ChangeMembershipResponse {
            header: header(&self.local, changed.log_id.index),
            members: members(&self.local.metrics()),
        })
    }

    /// A leader does not preside over its own removal if somebody else can. Always `Err` when
    /// leadership has gone: the new leader makes the change.
    async fn leave_leadership(&self, metrics: &Metrics, leaving: &[NodeId]) -> Result<(), Failure> {
        let Some(heir) = successor(metrics, leaving) else { return Ok(()) };
        match hand_over(&self.local.raft, heir, HANDOVER_TIMEOUT).await {
            Ok(leader) => Err(Failure::NotApplied(status_codes::no_leader(format_args!(
                "node {leader} has just taken over"
            )))),
            Err(e) => Err(Failure::NotApplied(status_codes::no_leader(e))),
        }
    }

    pub(super) async fn transfer_leader(
        &self,
        call: &Call,
        request: kv::TransferLeaderRequest,
    ) -> Result<kv::TransferLeaderResponse, Status> {
        let to = validate::node_id(request.to)?;
        self.on_leader(
            call,
            call.remaining(),
            || self.transfer_here(call, to),
            async |leader| {
                let addr = &leader.client_addr;
                let mut client = self.forwarder.cluster(addr)?;
                let sent = client.transfer_leader(call.forward(request));
                let answer =
                    async { sent.await.map_err(|status| self.forwarder.judge(addr, Effect::Write, status)) };
                Ok(route::within(call, Effect::Write, answer).await?.into_inner())
            },
        )
        .await
    }

    async fn transfer_here(&self, call: &Call, to: NodeId) -> Result<kv::TransferLeaderResponse, Failure> {
        let metrics = self.local.metrics();
        if to != self.local.id {
            check_heir(&metrics, to)?;
            let leader = hand_over(&self.local.raft, to, call.remaining().min(HANDOVER_TIMEOUT)).await;
            let leader = leader.map_err(|e| Failure::Final(handover_status(&e)))?;
            if leader != to {
                return Err(Status::failed_precondition(format!(
                    "node {leader} took over instead of node {to}; try again"
                ))
                .into());
            }
        }
        Ok(kv::TransferLeaderResponse {
            header: header(&self.local, metrics.last_applied.index().unwrap_or_default()),
        })
    }

    pub(super) async fn snapshot(&self, call: &Call) -> Result<kv::SnapshotResponse, Status> {
        let Some(applied) = self.local.with_metrics(|metrics| metrics.last_applied.index()) else {
            return Err(status_codes::not_initialized());
        };
        let raft = &self.local.raft;
        raft.trigger().snapshot().await.map_err(|fatal| status_codes::stopped(&fatal))?;
        let built = |metrics: &Metrics| metrics.snapshot.index() >= Some(applied);
        match raft.wait(Some(call.remaining())).metrics(built, "the snapshot").await {
            Ok(metrics) => Ok(kv::SnapshotResponse {
                header: header(&self.local, applied),
                snapshot_index: metrics.snapshot.index().unwrap_or_default(),
            }),
            Err(_) => {
                Err(Status::deadline_exceeded("the snapshot is not finished yet; it is still being built"))
            }
        }
    }
}

fn check_new_member(metrics: &Metrics, id: NodeId, member: &Member) -> Result<(), Status> {
    let nodes: BTreeMap<_, _> = metrics.membership_config.nodes().collect();
    if let Some(known) = nodes.get(&id).filter(|known| **known != member) {
        return Err(Status::failed_precondition(format!(
            "node {id} is a member already, with the addresses {known}; remove it first to change them"
        )));
    }
    let taken = |other: &Member| {
        [&other.raft_addr, &other.client_addr]
            .iter()
            .any(|addr| [&member.raft_addr, &member.client_addr].contains(addr))
    };
    match nodes.iter().find(|(other, known)| ***other != id && taken(known)) {
        Some((other, _)) => {
            Err(Status::failed_precondition(format!("node {other} already has one of these addresses")))
        }
        None => Ok(()),
    }
}

/// The change openraft is asked for: promotions first, so that a voter can be replaced in one go.
fn changes(
    metrics: &Metrics,
    promote: &[NodeId],
    remove: &[NodeId],
) -> Result<ChangeMembers<NodeId, Member>, Status> {
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
    let (voters, learners): (BTreeSet<_>, BTreeSet<_>) =
        remove.iter().copied().partition(|id| voters.contains(id));
    Ok(ChangeMembers::Batch(vec![
        ChangeMembers::AddVoterIds(promote.iter().copied().collect()),
        ChangeMembers::RemoveVoters(voters),
        ChangeMembers::RemoveNodes(learners),
    ]))
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
        HandoverError::Stopped(_) => Status::unavailable(error.to_string()),
    }
}
