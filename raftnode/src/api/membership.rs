//! Changing who belongs to the cluster, where they are, and who leads it, and snapshots on request.
//!
//! Every change runs in a task of its own, so that it ends whatever becomes of the request, and one at a
//! time. What is left half done by a leader that fails is ended by the next (`node/steward.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::{ChangeMembers, LogIdOptionExt as _};
use proto::node::v1 as pb;
use tokio::sync::MutexGuard;
use tonic::Status;

use super::call::Call;
use super::forward::{Effect, Hop};
use super::header::header;
use super::server::Api;
use super::status_codes::{self, Failure};
use super::status_report::members;
use super::{quorum, validate};
use crate::node::{HandoverError, Local, answers, hand_over, successor};
use crate::peer::{self, AskError, Description};
use crate::raft::{Member, Metrics, NodeId};

/// How long another node may take to take over leadership.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a new learner may take to answer the leader at all, before it is taken out again.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long taking it out may take.
const UNDO_TIMEOUT: Duration = Duration::from_secs(5);

impl Api {
    pub(super) async fn add_learner(
        &self,
        call: &Call,
        request: pb::AddLearnerRequest,
    ) -> Result<pb::AddLearnerResponse, Status> {
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
        let there =
            async |hop: Hop| Ok(hop.cluster().add_learner(hop.request(request.clone())).await?.into_inner());
        self.on_leader(call, call.remaining(), Effect::Write, here, there).await
    }

    pub(super) async fn change_membership(
        &self,
        call: &Call,
        request: pb::ChangeMembershipRequest,
    ) -> Result<pb::ChangeMembershipResponse, Status> {
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
    }

    pub(super) async fn set_address(
        &self,
        call: &Call,
        request: pb::SetAddressRequest,
    ) -> Result<pb::SetAddressResponse, Status> {
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
        let there =
            async |hop: Hop| Ok(hop.cluster().set_address(hop.request(request.clone())).await?.into_inner());
        self.on_leader(call, call.remaining(), Effect::Write, here, there).await
    }

    pub(super) async fn transfer_leader(
        &self,
        call: &Call,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Status> {
        let to = validate::node_id(request.to)?;
        let here = || self.transfer_here(call, to);
        let there =
            async |hop: Hop| Ok(hop.cluster().transfer_leader(hop.request(request)).await?.into_inner());
        self.on_leader(call, call.remaining(), Effect::Write, here, there).await
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

    pub(super) async fn snapshot(&self, call: &Call) -> Result<pb::SnapshotResponse, Status> {
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
            Err(_) => {
                Err(Status::deadline_exceeded("the snapshot is not finished yet; it is still being built"))
            }
        }
    }
}

/// Waits for a change that goes on by itself when the request has run out of time.
async fn run_to_its_end<T: Send + 'static>(
    call: &Call,
    change: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let task = tokio::spawn(change);
    match tokio::time::timeout_at(call.deadline, task).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(e)) => {
            Err(Status::unknown(format!("the change was cut short: {e}; look at the members")).into())
        }
        Err(_) => Err(Status::deadline_exceeded(
            "out of time; the change has begun and goes on by itself; look at the members",
        )
        .into()),
    }
}

/// Waits until no other change is under way, but not longer than the request: a change without a majority
/// takes as long as there is none.
async fn alone<'a>(local: &'a Local, call: &Call) -> Result<MutexGuard<'a, ()>, Failure> {
    tokio::time::timeout_at(call.deadline, local.membership_change.lock()).await.map_err(|_| {
        Failure::Final(Status::failed_precondition(
            "another change of the membership is under way and has not ended; nothing was changed, try again",
        ))
    })
}

/// Makes a change.
async fn change(local: &Local, change: ChangeMembers<NodeId, Member>) -> Result<Metrics, Failure> {
    let before = local.with_metrics(|metrics| metrics.membership_config.log_id().index());
    match local.raft.change_membership(change, false).await {
        Ok(_) => Ok(local.metrics()),
        Err(e) => {
            let after = local.with_metrics(|metrics| metrics.membership_config.log_id().index());
            // The first of a change's two entries is in the log, and whoever leads ends it.
            Err(if after == before { status_codes::write_failure(e) } else { begun_elsewhere().into() })
        }
    }
}

fn begun_elsewhere() -> Status {
    Status::unknown("the leader changed while the membership did; look at the members")
}

/// Asks the node who it is, makes it a member of this cluster, and waits until it has caught up; answers
/// whether it is still catching up.
async fn add_learner(
    local: Arc<Local>,
    call: Call,
    id: NodeId,
    member: Member,
) -> Result<(Metrics, bool), Failure> {
    let held = alone(&local, &call).await?;
    let metrics = quorum::of_leader(&local)?;
    check_new_member(&metrics, id, &member)?;
    let found = ask(&local, id, &member).await?;
    let own =
        local.identity().member().ok_or_else(|| status_codes::no_leader("this node is in no cluster"))?;
    let known = metrics.membership_config.membership().get_node(&id).and_then(Member::incarnation);
    if known.is_some_and(|known| found.member.and_then(|member| member.incarnation) != Some(known)) {
        return Err(Status::failed_precondition(format!(
            "node {id} is a learner already, with another data directory; remove it and add a node with a new id; \
             nothing was changed"
        ))
        .into());
    }
    let incarnation = match found.member {
        Some(theirs) if theirs.cluster_id == own.cluster_id => theirs.incarnation,
        Some(theirs) => {
            return Err(Status::failed_precondition(format!(
                "node {id} at {} belongs to cluster {} already, and this is cluster {}; nothing was changed",
                member.raft_addr, theirs.cluster_id, own.cluster_id
            ))
            .into());
        }
        None => {
            let new = network_grpc::Incarnation::random(metrics.last_log_index.unwrap_or_default());
            peer::adopt(&member.raft_addr, id, own.cluster_id, new).await.map_err(|e| not_added(id, &e))?;
            Some(new)
        }
    };
    let member = member.in_cluster(own.cluster_id, incarnation);
    let added = local.raft.add_learner(id, member, false).await.map_err(status_codes::write_failure)?;
    // Others need not wait while it catches up.
    drop(held);
    catch_up(&local, &call, id, added.log_id.index()).await
}

/// A learner that never answers is taken out again; one that is slow stays.
async fn catch_up(local: &Local, call: &Call, id: NodeId, index: u64) -> Result<(Metrics, bool), Failure> {
    let matched = |metrics: &Metrics| {
        metrics.replication.as_ref().and_then(|replication| replication.get(&id)?.index())
    };
    // The next leader brings the learner up to date.
    let deposed = |metrics: &Metrics| !metrics.state.is_leader() || id == metrics.id;
    let heard = |metrics: &Metrics| deposed(metrics) || matched(metrics).is_some() || answers(metrics, id);
    let first = local.raft.wait(Some(FIRST_ANSWER_TIMEOUT)).metrics(heard, "the learner to answer").await;
    if first.is_err() {
        let _alone = local.membership_change.lock().await;
        let undo = ChangeMembers::RemoveNodes([id].into());
        let undone = tokio::time::timeout(UNDO_TIMEOUT, local.raft.change_membership(undo, false)).await;
        return Err(match undone {
            Ok(Ok(_)) => Status::failed_precondition(format!(
                "node {id} was added, did not answer the leader within {FIRST_ANSWER_TIMEOUT:?}, and was taken out \
                 again; look into its log"
            ))
            .into(),
            _ => Status::unknown(format!(
                "node {id} was added and does not answer, and could not be taken out again; run `kvcli cluster remove {id}`"
            ))
            .into(),
        });
    }
    let caught_up = |metrics: &Metrics| deposed(metrics) || matched(metrics) >= Some(index);
    // Told a little before the request itself runs out.
    let wait = call.remaining().saturating_sub(call.remaining() / 10);
    match local.raft.wait(Some(wait)).metrics(caught_up, "the learner to catch up").await {
        Ok(metrics) => Ok((metrics, false)),
        Err(_) => Ok((local.metrics(), true)),
    }
}

/// Who answers at the addresses of a member to be: it must be that node, at both.
async fn ask(local: &Local, id: NodeId, member: &Member) -> Result<Description, Status> {
    let found = peer::describe(&member.raft_addr, local.id).await.map_err(|e| not_added(id, &e))?;
    if found.node_id != id {
        return Err(Status::failed_precondition(format!(
            "at {} there is node {}, not node {id}; nothing was changed",
            member.raft_addr, found.node_id
        )));
    }
    let at_client = quorum::node_at(&member.client_addr).await;
    match at_client {
        Ok(node) if node == id => Ok(found),
        Ok(node) => Err(Status::failed_precondition(format!(
            "at the client address {} there is node {node}, not node {id}; nothing was changed",
            member.client_addr
        ))),
        Err(reason) => Err(Status::failed_precondition(format!(
            "node {id} does not answer at its client address {}: {reason}; nothing was changed",
            member.client_addr
        ))),
    }
}

fn not_added(id: NodeId, error: &AskError) -> Status {
    Status::failed_precondition(format!("node {id} cannot become a member: {error}; nothing was changed"))
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

/// A leader does not preside over its own removal if another voter can. Always `Err` when leadership
/// has gone: the new leader makes the change.
async fn leave_leadership(local: &Local, metrics: &Metrics, leaving: &[NodeId]) -> Result<(), Failure> {
    let Some(heir) = successor(metrics, leaving) else { return Ok(()) };
    match hand_over(&local.raft, heir, HANDOVER_TIMEOUT).await {
        Ok(leader) => Err(Failure::NotApplied(status_codes::no_leader(format_args!(
            "node {leader} has just taken over"
        )))),
        Err(e) => Err(Failure::NotApplied(status_codes::no_leader(e))),
    }
}

/// The change openraft is asked for: promotions first, so that a voter can be replaced in one go. `None`:
/// all is so already.
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

fn check_new_member(metrics: &Metrics, id: NodeId, member: &Member) -> Result<(), Status> {
    let membership = metrics.membership_config.membership();
    if membership.voter_ids().any(|voter| voter == id) {
        return Err(Status::failed_precondition(format!(
            "node {id} is a voter already; nothing was changed"
        )));
    }
    if let Some(known) = membership.get_node(&id).filter(|known| !known.is_at_the_place_of(member)) {
        return Err(Status::failed_precondition(format!(
            "node {id} is a learner already, with the addresses {known}; run kvcli cluster set-address to change them"
        )));
    }
    check_addresses(metrics, id, member)
}

/// No two members at one address.
fn check_addresses(metrics: &Metrics, id: NodeId, member: &Member) -> Result<(), Status> {
    let taken = |other: &Member| {
        let theirs = [&other.raft_addr, &other.client_addr];
        theirs.iter().any(|addr| [&member.raft_addr, &member.client_addr].contains(addr))
    };
    match metrics.membership_config.nodes().find(|(other, known)| **other != id && taken(known)) {
        Some((other, _)) => {
            Err(Status::failed_precondition(format!("node {other} already has one of these addresses")))
        }
        None => Ok(()),
    }
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
    check_addresses(&metrics, id, &moved)?;
    if !request.force {
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
