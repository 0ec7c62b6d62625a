//! Whether a change of the membership would lose the quorum, asked before anything is written.
//!
//! A voter that does not answer, made a majority's part by a typing error, stops a cluster for
//! good: no leader could ever commit the change that takes it out again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use openraft::LogIdOptionExt as _;
use tonic::{Code, Status};

use super::header::NODE_ID_METADATA;
use super::status_codes::{self, Failure};
use crate::peer::Entrance;
use crate::raft::{LEADER_LEASE, Metrics, NodeId};
use crate::standing::{Local, silence};
use crate::tls::Dialler;

/// A learner this close to the end of the leader's log may become a voter.
const CAUGHT_UP_LAG_ENTRIES: u64 = 10_000;

/// What this node knows as a leader that a majority follows.
pub(super) fn of_leader(local: &Local) -> Result<Metrics, Failure> {
    if local.has_lost_quorum() {
        return Err(status_codes::no_quorum().into());
    }
    let metrics = local.metrics();
    if metrics.state.is_leader() {
        return Ok(metrics);
    }
    Err(Failure::NotApplied(status_codes::no_leader("this node does not lead any more")))
}

/// Whether the voters can change so, without the members that do not answer from now on: one that
/// has just died counts as alive for a lease, and would then keep the change from ending.
pub(super) async fn check_change(
    local: &Local,
    promoted: &BTreeSet<NodeId>,
    leaving: &BTreeSet<NodeId>,
    force: bool,
) -> Result<(), Status> {
    let voters: BTreeSet<_> = local.with_metrics(|metrics| metrics.membership_config.voter_ids().collect());
    let after: BTreeSet<_> = voters.union(promoted).filter(|id| !leaving.contains(id)).copied().collect();
    if after.is_empty() {
        return Err(refused("no voter would be left; promote another node first"));
    }
    if force {
        return Ok(());
    }
    let silent = silent(local, &after).await;
    for id in promoted {
        check_promotion(&local.metrics(), *id, silent.contains(id))?;
    }
    if leaving.len() > 1 && 2 * leaving.len() >= voters.len() {
        return Err(refused(&format!(
            "{} of {} voters would leave at once; remove fewer at a time",
            leaving.len(),
            voters.len()
        )));
    }
    let answering = after.len() - silent.len();
    if answering > after.len() / 2 {
        return Ok(());
    }
    Err(refused(&format!(
        "of the {} voters afterwards only {answering} answer, which is no majority (silent: {})",
        after.len(),
        silent.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )))
}

/// Those of `members` that do not acknowledge this leader within a lease from now on.
async fn silent(local: &Local, members: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let asked = Instant::now();
    loop {
        let silent: BTreeSet<_> = local.with_metrics(|metrics| {
            let others = members.iter().filter(|id| **id != metrics.id);
            others
                .filter(|id| silence(metrics, **id).is_none_or(|ago| ago > asked.elapsed()))
                .copied()
                .collect()
        });
        if silent.is_empty() || asked.elapsed() > LEADER_LEASE {
            return silent;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn check_promotion(metrics: &Metrics, id: NodeId, silent: bool) -> Result<(), Status> {
    if silent {
        return Err(refused(&format!("node {id} does not answer the leader")));
    }
    let matched = metrics.replication.as_ref().and_then(|all| all.get(&id).cloned().flatten());
    let (last, has) = (metrics.last_log_index.map_or(0, |index| index + 1), matched.next_index());
    match last.checked_sub(has) {
        Some(lag) if lag > CAUGHT_UP_LAG_ENTRIES && id != metrics.id => Err(refused(&format!(
            "node {id} lacks {lag} entries of the log; wait until it has at most {CAUGHT_UP_LAG_ENTRIES} to go"
        ))),
        _ => Ok(()),
    }
}

fn refused(reason: &str) -> Status {
    Status::failed_precondition(format!(
        "refused, because the cluster could stop taking writes: {reason}; nothing was changed (--force does it all the same)"
    ))
}

/// The id of the node that serves clients at `addr`.
pub(super) async fn node_at(dialler: &Dialler, addr: &str) -> Result<NodeId, String> {
    match Entrance::open(dialler, addr).await?.status().await {
        Ok(status) => Ok(status.node_id),
        // This node is no principal; a refusal tells as well which node it is of.
        Err(refusal) if matches!(refusal.code(), Code::Unauthenticated | Code::PermissionDenied) => {
            let told = refusal.metadata().get(NODE_ID_METADATA).and_then(|id| id.to_str().ok()?.parse().ok());
            told.ok_or_else(|| refusal.message().to_owned())
        }
        Err(failure) => Err(failure.message().to_owned()),
    }
}
