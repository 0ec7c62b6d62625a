//! What is not well about this node, and whether it should be sent requests. The one answer that
//! `/readyz`, gRPC health, `Cluster.Status`, `Cluster.Health`, the status page and the metrics
//! give.

use std::time::Duration;

use openraft::LogIdOptionExt as _;
use storage_leveldb::Fault;
use storage_leveldb::health::PendingCall;

use super::{DiskSpace, Local, Standing, explain};
use crate::raft::{LEADER_LEASE, Member, committed_end};

/// A node that has this many committed entries still to apply is lagging.
pub(crate) const MAX_READY_LAG_ENTRIES: u64 = 10_000;
/// A disk with less room than one part in this is nearly full ...
const NEARLY_FULL_PART: u64 = 20;
/// ... unless there is as much room as this.
const NEARLY_FULL_BYTES: u64 = 1024 * 1024 * 1024;

/// What is not well about a node.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Problem {
    /// It was asked to stop.
    #[error("stopping")]
    Stopping,
    /// Storage failed.
    #[error("{}", explain(.0))]
    Fault(#[from] Fault),
    /// Consensus stopped.
    #[error("consensus has stopped: {0}; restart this node")]
    Stopped(String),
    /// It takes no part in a cluster: why, and what to do.
    #[error("{0}")]
    Outside(String),
    /// The disk does not answer.
    #[error("{}", super::disk_watch::explain(.0))]
    DiskHangs(PendingCall),
    /// No node leads.
    #[error("no leader for {}.{:01} s", .0.as_secs(), .0.subsec_millis() / 100)]
    NoLeader(Duration),
    /// Far behind.
    #[error("lagging: {0} committed entries are not applied here yet (ready at {MAX_READY_LAG_ENTRIES})")]
    Lagging(u64),
    /// The others look for it somewhere else.
    #[error(
        "the membership has node {id} at {known} (raft/client), but it was started with {own}; start it with the addresses of the \
         membership, or run `kvcli cluster set-address {id} --raft {} --client {}`",
        own.raft_addr, own.client_addr
    )]
    Moved {
        /// This node.
        id: u64,
        /// What the membership says.
        known: Box<Member>,
        /// What this node advertises.
        own: Box<Member>,
    },
    /// A node has applied something else, and no majority says which of them is wrong.
    #[error(
        "{0} has applied something else than this node, and no majority of the voters says which of them is wrong"
    )]
    Differs(String),
    /// The next writes may not fit.
    #[error("the disk is nearly full: {} MiB of {} MiB are free; make room", free / MIB, size / MIB)]
    NearlyFull {
        /// Bytes.
        free: u64,
        /// Bytes.
        size: u64,
    },
}

const MIB: u64 = 1024 * 1024;

impl Problem {
    /// Whether requests should not be sent to this node.
    #[must_use]
    pub(crate) fn keeps_from_serving(&self) -> bool {
        !matches!(self, Self::Moved { .. } | Self::Differs(_) | Self::NearlyFull { .. })
    }
}

impl Local {
    /// Whether this node should be sent requests.
    ///
    /// # Errors
    /// Why it should not.
    pub(crate) fn ready(&self) -> Result<(), Problem> {
        let serious = self.all_problems(None).into_iter().find(Problem::keeps_from_serving);
        serious.map_or(Ok(()), Err)
    }

    /// All that is not well, the most serious first, and worth a look: a node that has only just
    /// started or joined has heard of no leader yet. `space`: the room on its disk, if that was
    /// measured.
    #[must_use]
    pub(crate) fn problems(&self, space: Option<DiskSpace>) -> Vec<Problem> {
        let passing = |problem: &Problem| matches!(problem, Problem::NoLeader(ago) if *ago < LEADER_LEASE);
        self.all_problems(space).into_iter().filter(|problem| !passing(problem)).collect()
    }

    fn all_problems(&self, space: Option<DiskSpace>) -> Vec<Problem> {
        match self.standing() {
            Standing::Faulty(fault) => return vec![fault.into()],
            _ if self.is_stopping() => return vec![Problem::Stopping],
            Standing::Stopped(reason) => return vec![Problem::Stopped(reason)],
            Standing::Good => {}
        }
        if let Some(call) = self.hanging_disk() {
            return vec![Problem::DiskHangs(call)];
        }
        let affiliation = self.affiliation();
        if !affiliation.serves() {
            return vec![Problem::Outside(self.describe_affiliation(affiliation))];
        }
        let no_leader =
            (!self.leader_watch.is_alive()).then(|| Problem::NoLeader(self.leader_watch.silence()));
        let differs = self.differing().map(Problem::Differs);
        let problems = [no_leader, self.lag(), differs, self.moved(), space.and_then(nearly_full)];
        problems.into_iter().flatten().collect()
    }

    fn lag(&self) -> Option<Problem> {
        let lag = self.with_metrics(|metrics| {
            // Both can be read between two steps of the core.
            committed_end(metrics).saturating_sub(metrics.last_applied.next_index())
        });
        (lag > MAX_READY_LAG_ENTRIES).then_some(Problem::Lagging(lag))
    }

    fn moved(&self) -> Option<Problem> {
        let known = self.with_metrics(|metrics| metrics.membership_config.get_node(&self.id).cloned())?;
        let (id, own) = (self.id, Box::new(self.own.clone()));
        let elsewhere = !known.is_at_the_place_of(&own);
        elsewhere.then(|| Problem::Moved { id, known: Box::new(known), own })
    }
}

fn nearly_full(DiskSpace { free, size }: DiskSpace) -> Option<Problem> {
    let enough = (size / NEARLY_FULL_PART).min(NEARLY_FULL_BYTES);
    (size > 0 && free < enough).then_some(Problem::NearlyFull { free, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_nearly_full_by_its_part_or_by_what_is_left_of_a_large_one() {
        let said = |free, size| nearly_full(DiskSpace { free, size }).map(|problem| problem.to_string());
        assert_eq!(said(6 * MIB, 100 * MIB), None);
        assert!(said(4 * MIB, 100 * MIB).unwrap().contains("4 MiB of 100 MiB"));
        let large = 1024 * 1024 * MIB;
        assert_eq!(said(2 * NEARLY_FULL_BYTES, large), None);
        assert!(said(NEARLY_FULL_BYTES - 1, large).is_some());
        assert_eq!(said(0, 0), None, "the system does not say");
        let problem = nearly_full(DiskSpace { free: 0, size: MIB }).unwrap();
        assert!(!problem.keeps_from_serving());
    }
}
