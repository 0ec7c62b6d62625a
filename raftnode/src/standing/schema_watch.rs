//! The leader finds out which schema all members' programs understand, so that it comes into force.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::Local;
use crate::peer;

/// How often a leader asks whose program is newer than the schema in force.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// Asks until the node ends. Nothing is to be found out while the program's own schema is in force.
pub(crate) async fn watch_schemas(local: Arc<Local>) {
    loop {
        tokio::time::sleep(ASK_INTERVAL).await;
        let leads = local.with_metrics(|metrics| metrics.state.is_leader());
        let (own, in_force) = (local.in_force.own(), local.in_force.next());
        if !leads || local.has_lost_quorum() || in_force >= own {
            continue;
        }
        if let Some(schema) = least(&local).await.filter(|schema| *schema > in_force) {
            tracing::info!("schema {schema} is in force from the next write on: every member understands it");
            local.in_force.agreed(schema);
        }
    }
}

/// The least schema of all members' programs; `None` if one of them does not answer. One that is
/// added meanwhile is asked before.
async fn least(local: &Local) -> Option<u32> {
    let members = local.with_metrics(|metrics| {
        let members = metrics.membership_config.nodes().filter(|(id, _)| **id != local.id);
        members.map(|(id, member)| (*id, member.clone())).collect::<Vec<_>>()
    });
    let asked = members.iter().map(|(id, member)| async move {
        let found = peer::describe(&local.dialler, &member.raft_addr, local.id).await.ok()?;
        let theirs = found.member.and_then(|theirs| theirs.incarnation);
        (found.node_id == *id && theirs == member.incarnation()).then_some(found.schema)
    });
    let found = join_all(asked).await.into_iter().collect::<Option<Vec<u32>>>()?;
    Some(found.into_iter().min().map_or(local.in_force.own(), |least| least.min(local.in_force.own())))
}
