//! Nodes that join and leave.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use storage_leveldb::StorageError;
use storage_leveldb::testing::SimDisk;
use storage_leveldb::testing::disk::Disk as _;

use super::{Cluster, ClusterError, Seat};
use crate::application::Application;
use crate::raft::{self, Metrics, NodeId, Raft};

/// A change of the membership that has not ended by then is asked for again.
const CHANGE_PATIENCE: Duration = Duration::from_secs(5);

impl<A: Application> Cluster<A> {
    /// Starts one more node, with an empty disk, and makes it a voter once it has what the others
    /// have; answers its number, which no node had before.
    ///
    /// # Errors
    /// It does not start, or there is no majority for a minute.
    pub async fn add_node(&self) -> Result<NodeId, ClusterError> {
        let node = self.last_node.fetch_add(1, Ordering::SeqCst) + 1;
        self.new_seat(node).await?;
        let added = self.changed("a new node does not become a voter", |leader| async move {
            let learner = leader.add_learner(node, raft::Member::default(), true).await;
            learner.map_err(|e| e.to_string())?;
            let voter = ChangeMembers::AddVoterIds([node].into());
            leader.change_membership(voter, true).await.map(drop).map_err(|e| e.to_string())
        });
        if let Err(e) = added.await {
            // Nothing shall wait for it.
            self.give_up(node).await;
            return Err(e);
        }
        Ok(node)
    }

    /// Takes `node` out of the membership and stops it; its disk is thrown away. Nothing happens
    /// if it is not there.
    ///
    /// # Errors
    /// There is no majority for a minute.
    pub async fn remove_node(&self, node: NodeId) -> Result<(), ClusterError> {
        if !self.nodes().contains(&node) {
            return Ok(());
        }
        self.changed("a node is not removed", |leader| async move {
            let removed = ChangeMembers::RemoveVoters([node].into());
            let is_there = |metrics: &Metrics| metrics.membership_config.get_node(&node).is_some();
            if !is_there(&leader.metrics().borrow_watched()) {
                return Ok(());
            }
            leader.change_membership(removed, false).await.map(drop).map_err(|e| e.to_string())
        })
        .await?;
        self.give_up(node).await;
        Ok(())
    }

    async fn give_up(&self, node: NodeId) {
        let seat = self.seats().remove(&node);
        if let Some(member) = seat.and_then(|seat| seat.member) {
            member.stop(self.network()).await;
        }
    }

    /// A node with an empty disk, started.
    pub(super) async fn new_seat(&self, node: NodeId) -> Result<(), ClusterError> {
        let disk = SimDisk::default();
        let made = disk.create_dir(Path::new("disk")).map_err(|e| StorageError::corrupt(e.to_string()));
        made.map_err(|source| ClusterError::Start { node, source })?;
        self.seats().insert(node, Seat { disk, member: None, starts: 0 });
        self.run(node).await
    }

    /// Has the leader make a change; one that was cut short is asked of the next leader, too.
    async fn changed<F: Future<Output = Result<(), String>>>(
        &self,
        reason: &str,
        change: impl Fn(Raft) -> F,
    ) -> Result<(), ClusterError> {
        self.within(reason, || async {
            let leader = self.leader().await.ok()?;
            let raft = self.member(leader)?.raft.clone();
            let made = tokio::time::timeout(CHANGE_PATIENCE, change(raft)).await;
            matches!(made, Ok(Ok(()))).then_some(())
        })
        .await
    }
}
