//! What a leader does for the membership by itself.
//!
//! A change of the voters is two entries, and whatever asked for it may be gone before the second:
//! its client, its deadline, the leader that began it. So every leader ends what it finds begun. A
//! member that was away when the cluster was founded is taken in when it is first reached.

use std::sync::Arc;
use std::time::Duration;

use network_grpc::{Incarnation, PeerPlaces};
use openraft::async_runtime::WatchReceiver as _;
use openraft::{ChangeMembers, LogIdOptionExt as _};

use super::Local;
use crate::peer;
use crate::raft::{Member, Metrics, NodeId, TypeConfig};

/// How often a leader looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long a change of its own may take before the leader lets others try.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks after the membership until the node ends.
pub(crate) async fn run(local: Arc<Local>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let metrics = local.metrics();
        if !metrics.state.is_leader() || local.has_lost_quorum() {
            continue;
        }
        if is_joint(&metrics) {
            end_change(&local).await;
        } else {
            for (id, member) in strangers(&metrics) {
                take_in(&local, id, member).await;
            }
        }
    }
}

/// Whether a change of the voters has begun and not ended.
pub(crate) fn is_joint(metrics: &Metrics) -> bool {
    metrics.membership_config.get_joint_config().len() > 1
}

/// Members that no leader has reached yet.
fn strangers(metrics: &Metrics) -> Vec<(NodeId, Member)> {
    let nodes = metrics.membership_config.nodes();
    let strangers = nodes.filter(|(_, member)| member.incarnation().is_none());
    strangers.map(|(id, member)| (*id, member.clone())).collect()
}

async fn end_change(local: &Local) {
    // Whatever holds it is making the change.
    let Ok(_alone) = local.membership_change.try_lock() else { return };
    let metrics = local.metrics();
    if !is_joint(&metrics) {
        return;
    }
    tracing::info!(
        "ending a change of the membership that was left half done: {}",
        metrics.membership_config
    );
    // What openraft does as the second step of any change.
    change(local, ChangeMembers::AddVoterIds([].into())).await;
}

/// Only a leader that knows its whole log may decide that a member has never been reached.
async fn take_in(local: &Local, id: NodeId, member: Member) {
    // Others may change the membership as long as the node does not answer.
    let Ok(found) = peer::describe(&local.dialler, &member.raft_addr, local.id).await else { return };
    let Ok(_alone) = local.membership_change.try_lock() else { return };
    let Some(own) = local.identity().member() else { return };
    let still = local.with_metrics(|now| strangers(now).contains(&(id, member.clone())));
    if found.node_id != id || !still {
        return;
    }
    let incarnation = match found.member {
        // An earlier leader had got this far.
        Some(theirs) if theirs.cluster_id == own.cluster_id => theirs.incarnation,
        Some(_) => None,
        None => {
            let new = Incarnation::random(local.metrics().last_log_index.unwrap_or_default());
            let adopted = peer::adopt(&local.dialler, &member.raft_addr, id, own.cluster_id, new).await;
            adopted.is_ok().then_some(new)
        }
    };
    let Some(incarnation) = incarnation else { return };
    tracing::info!("node {id} is there for the first time and becomes the member that it was listed as");
    let member = member.in_cluster(own.cluster_id, Some(incarnation));
    change(local, ChangeMembers::SetNodes([(id, member)].into())).await;
}

async fn change(local: &Local, change: ChangeMembers<NodeId, Member>) {
    let changing = local.raft.change_membership(change, false);
    match tokio::time::timeout(CHANGE_TIMEOUT, changing).await {
        Ok(Ok(_)) => {}
        // It is looked at again, here or by the next leader.
        Ok(Err(e)) => tracing::debug!("the membership could not be changed: {e}"),
        Err(_) => tracing::debug!("the membership was not changed within {CHANGE_TIMEOUT:?}"),
    }
}

/// Tells the network of every new membership: openraft keeps replicating to where a member was.
/// Runs until consensus ends.
pub(crate) async fn follow_places(local: Arc<Local>, places: PeerPlaces<TypeConfig>) {
    let mut changes = local.raft.server_metrics();
    let mut told = None;
    loop {
        let membership = changes.borrow_watched().membership_config.clone();
        if told != membership.log_id().index() || told.is_none() {
            told = membership.log_id().index();
            for (id, member) in membership.nodes() {
                places.follow(id, member);
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
