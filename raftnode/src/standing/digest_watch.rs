//! Compares what this node has applied with what the others have, and stops this node if a majority
//! says that it is wrong.
//!
//! Every node asks, and each judges only itself: so no node can be stopped by a message, and a
//! leader that is wrong finds it as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use storage_leveldb::Fault;

use super::Local;
use super::comparison::{Checkpoints, Comparison, Judgement, compare, judge};
use crate::application::Checkpoint;
use crate::metrics::DigestMetrics;
use crate::peer;
use crate::raft::NodeId;

/// How often a node asks the others. Each is asked over a connection of its own.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5);

/// Compares until the node ends.
pub(crate) async fn watch_digests(local: Arc<Local>, counts: DigestMetrics) {
    while local.health.fault().is_none() {
        tokio::time::sleep(COMPARE_INTERVAL).await;
        let Some((others, voters)) = ask_others(&local, &counts).await else { continue };
        // Only now: the others have gone on meanwhile, and so has this node.
        let Ok(own) = local.checkpoints().await else { continue };
        count(&own, &others, &counts);
        take(&local, judge(local.id, &own, &others, &voters));
    }
}

/// The digests of all other members that answer, and which nodes vote; none if this node is in no
/// cluster.
async fn ask_others(local: &Local, counts: &DigestMetrics) -> Option<(Checkpoints, BTreeSet<NodeId>)> {
    let cluster_id = local.identity().member()?.cluster_id;
    let (members, voters) = local.with_metrics(|metrics| {
        let membership = &metrics.membership_config;
        let members: Vec<_> = membership.nodes().map(|(id, member)| (*id, member.clone())).collect();
        (members, membership.voter_ids().collect::<BTreeSet<_>>())
    });
    let own = local.id;
    members.iter().any(|(id, _)| *id == own).then_some(())?;
    let asked = members.iter().filter(|(id, _)| *id != own).map(|(id, member)| async move {
        let found = peer::digests(&local.dialler, &member.raft_addr, *id, cluster_id).await;
        let found = found.ok().filter(|found| found.incarnation == member.incarnation());
        if found.is_none() {
            counts.unknown.inc();
        }
        Some((*id, found?.checkpoints))
    });
    Some((join_all(asked).await.into_iter().flatten().collect(), voters))
}

fn count(own: &[Checkpoint], others: &Checkpoints, counts: &DigestMetrics) {
    for theirs in others.values() {
        match compare(own, theirs) {
            Comparison::Unknown => counts.unknown.inc(),
            Comparison::Same => counts.same.inc(),
            Comparison::Different(_) => counts.different.inc(),
        }
    }
}

fn take(local: &Local, judgement: Judgement) {
    let mut differing = None;
    match judgement {
        Judgement::Well => {}
        Judgement::Wrong { majority, difference } => {
            let majority = majority.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" and ");
            let reason = format!(
                "what this node has applied is not what nodes {majority} have applied: {difference}. Its memory has failed, or \
                 the application's `apply` depends on something else than its arguments"
            );
            local.health.latch(Fault::corrupt(local.data_dir.clone(), reason));
        }
        Judgement::Others(differ) => {
            // They find it themselves, and stop.
            if local.leads() {
                tracing::error!(
                    "{} has applied something else than this node and a majority",
                    described(&differ)
                );
            }
        }
        Judgement::Undecided(differ) => {
            let what = described(&differ);
            if local.leads() {
                tracing::error!(
                    "{what} has applied something else than node {}, and no majority of the voters says which of them is wrong; \
                     see docs/operations/faults.md",
                    local.id
                );
            }
            differing = Some(what);
        }
    }
    local.set_differing(differing);
}

fn described(differ: &BTreeMap<NodeId, impl Display>) -> String {
    let one = |(node, difference): (&NodeId, _)| format!("node {node} ({difference})");
    differ.iter().map(one).collect::<Vec<_>>().join(", ")
}
