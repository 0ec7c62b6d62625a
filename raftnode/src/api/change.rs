//! What every change of the membership needs: to be the only one, to go on when its request has
//! ended, and to know who is at an address.

use openraft::{ChangeMembers, LogIdOptionExt as _};
use tokio::sync::MutexGuard;
use tonic::Status;

use super::call::Call;
use super::quorum;
use super::status_codes::{self, Failure};
use crate::peer::{self, AskError, Description};
use crate::raft::{Member, Metrics, NodeId};
use crate::standing::Local;

/// Waits for a change that goes on by itself when the request has run out of time.
pub(super) async fn run_to_its_end<T: Send + 'static>(
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

/// Waits until no other change is under way, but not longer than the request: a change without a
/// majority takes as long as there is none.
pub(super) async fn alone<'a>(local: &'a Local, call: &Call) -> Result<MutexGuard<'a, ()>, Failure> {
    tokio::time::timeout_at(call.deadline, local.membership_change.lock()).await.map_err(|_| {
        Failure::Final(Status::failed_precondition(
            "another change of the membership is under way and has not ended; nothing was changed, try again",
        ))
    })
}

/// Makes a change.
pub(super) async fn change(local: &Local, change: ChangeMembers<NodeId, Member>) -> Result<Metrics, Failure> {
    let before = local.with_metrics(|metrics| metrics.membership_config.log_id().index());
    match local.raft.change_membership(change, false).await {
        Ok(_) => Ok(local.metrics()),
        Err(e) => {
            let after = local.with_metrics(|metrics| metrics.membership_config.log_id().index());
            // The first of a change's two entries is in the log, and the leader ends it.
            Err(if after == before { status_codes::write_failure(e) } else { begun_elsewhere().into() })
        }
    }
}

fn begun_elsewhere() -> Status {
    Status::unknown("the leader changed while the membership did; look at the members")
}

/// Who answers at the addresses of a member to be: it must be that node, at both.
pub(super) async fn ask(local: &Local, id: NodeId, member: &Member) -> Result<Description, Status> {
    let found =
        peer::describe(&local.dialler, &member.raft_addr, local.id).await.map_err(|e| not_added(id, &e))?;
    if found.node_id != id {
        return Err(Status::failed_precondition(format!(
            "at {} there is node {}, not node {id}; nothing was changed",
            member.raft_addr, found.node_id
        )));
    }
    let at_client = quorum::node_at(&local.dialler, &member.client_addr).await;
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

pub(super) fn not_added(id: NodeId, error: &AskError) -> Status {
    Status::failed_precondition(format!("node {id} cannot become a member: {error}; nothing was changed"))
}

/// No two members at one address.
pub(super) fn check_addresses(metrics: &Metrics, id: NodeId, member: &Member) -> Result<(), Status> {
    let taken = |other: &Member| {
        let theirs = [&other.raft_addr, &other.client_addr];
        theirs.iter().any(|addr| [&member.raft_addr, &member.client_addr].contains(addr))
    };
    match metrics.membership_config.nodes().find(|(other, known)| **other != id && taken(known)) {
        Some((other, _)) => Err(Status::failed_precondition(format!(
            "node {other} already has one of these addresses; nothing was changed"
        ))),
        None => Ok(()),
    }
}
