//! A node becomes a learner: asked who it is, given the cluster's identity, added, and waited for.

use std::sync::Arc;
use std::time::Duration;

use openraft::{ChangeMembers, LogIdOptionExt as _};
use tonic::Status;

use super::call::Call;
use super::change::{alone, ask, check_addresses, not_added};
use super::quorum;
use super::status_codes::{self, Failure};
use crate::peer;
use crate::raft::{Member, Metrics, NodeId};
use crate::standing::{Local, answers};

/// How long a new learner may take to answer the leader at all, before it is taken out again.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long taking it out may take.
const UNDO_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the node who it is, makes it a member of this cluster, and waits until it has caught up;
/// answers whether it is still catching up.
pub(super) async fn add_learner(
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
    let application = local.program.name;
    if found.application != application {
        return Err(Status::failed_precondition(format!(
            "node {id} runs the application {:?}, and this cluster runs {application:?}; nothing was changed",
            found.application
        ))
        .into());
    }
    let in_force = local.in_force.next();
    if found.schema < in_force {
        return Err(Status::failed_precondition(format!(
            "node {id} runs a program of schema {}, and schema {in_force} is in force here; start it with a newer program; \
             nothing was changed",
            found.schema
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
            peer::adopt(&local.dialler, &member.raft_addr, id, own.cluster_id, new)
                .await
                .map_err(|e| not_added(id, &e))?;
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
