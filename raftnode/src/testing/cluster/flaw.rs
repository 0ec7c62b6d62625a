//! Mistakes that nodes can be made to make, each of which breaks a promise: so it is known that the
//! check of a cluster would tell.

/// What every node of a cluster does wrongly.
#[cfg_attr(not(test), allow(dead_code, reason = "planted by tests of this module"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A leader that restarts leads on: openraft's default.
    RestoresLeaders,
    /// A leader answers reads although no majority has confirmed that it leads.
    UnconfirmedReads,
    /// A node that does not lead answers reads from what it has.
    StaleForwards,
    /// A write is answered before it is committed.
    EarlyAnswers,
    /// It is not remembered that a write was applied.
    LostSessions,
    /// A candidate takes silence for a vote.
    LoneElections,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use storage_leveldb::StorageError;

    use super::super::{Cluster, ClusterError, LOOK_AGAIN, RECOVERY_SECONDS};
    use super::Flaw;
    use crate::application::{Application, At, Transaction, View};
    use crate::raft::NodeId;

    /// Counts; nothing is answered to a write.
    struct Counter;

    impl Application for Counter {
        const SCHEMA: u32 = 1;
        type Command = ();
        type Response = ();
        type Query = ();
        type Answer = u64;

        fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, (): ()) -> Result<(), StorageError> {
            let count: u64 = txn.load(b"count")?.unwrap_or_default();
            txn.store(b"count", &(count + 1))
        }

        fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
            Ok(view.load(b"count")?.unwrap_or_default())
        }
    }

    /// A cluster with this flaw, its leader and the others, after some writes.
    async fn flawed(flaw: Option<Flaw>) -> (Cluster<Counter>, NodeId, Vec<NodeId>) {
        let cluster = Cluster::start_as(3, 9, Arc::new(|| Counter), flaw).await.unwrap();
        let leader = cluster.leader().await.unwrap();
        for _ in 0..3 {
            cluster.write(leader, ()).await.unwrap();
        }
        let others = cluster.nodes().into_iter().filter(|node| *node != leader).collect();
        (cluster, leader, others)
    }

    async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !is_so().await {
            assert!(begun.elapsed() < Duration::from_secs(RECOVERY_SECONDS), "{what}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Runs once with the flaw and once without: what happens is what the flaw does.
    async fn with_and_without<F: Future<Output = Result<(), ClusterError>>>(
        flaw: Flaw,
        run: impl Fn(Option<Flaw>) -> F,
    ) -> ClusterError {
        run(None).await.unwrap();
        run(Some(flaw)).await.unwrap_err()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_without_confirmation_is_caught() {
        let found = with_and_without(Flaw::UnconfirmedReads, |flaw| async move {
            let (cluster, old, others) = flawed(flaw).await;
            cluster.network().isolate(old, cluster.nodes());
            cluster.write(others[0], ()).await.unwrap();
            drop(cluster.read(old, ()).await);
            cluster.check().await.map(drop)
        });
        assert!(matches!(found.await, ClusterError::StaleRead { .. }));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stale_forwarded_read_is_caught() {
        let found = with_and_without(Flaw::StaleForwards, |flaw| async move {
            let (cluster, leader, others) = flawed(flaw).await;
            // It lacks what is written now, and reaches the leader.
            cluster.network().cut(leader, others[0]);
            cluster.write(leader, ()).await.unwrap();
            drop(cluster.read(others[0], ()).await);
            cluster.check().await.map(drop)
        });
        assert!(matches!(found.await, ClusterError::StaleRead { .. }));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_answer_before_the_commit_is_caught() {
        let found = with_and_without(Flaw::EarlyAnswers, |flaw| async move {
            let (cluster, old, others) = flawed(flaw).await;
            cluster.network().isolate(old, cluster.nodes());
            drop(cluster.write(old, ()).await);
            // The others go on without it, and it takes what they have.
            cluster.write(others[0], ()).await.unwrap();
            cluster.check().await.map(drop)
        });
        assert!(matches!(found.await, ClusterError::Lost { .. }));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lost_session_is_caught() {
        let found = with_and_without(Flaw::LostSessions, |flaw| async move {
            let (cluster, leader, others) = flawed(flaw).await;
            let position = async || {
                let reader = cluster.member(leader).unwrap().requests.clone();
                let found = reader.read_stale(bytes::Bytes::new()).await;
                found.map_or(0, |found| found.position)
            };
            let before = position().await;
            // The answer is lost, so the node asks again.
            cluster.network().cut(leader, others[0]);
            let heal = async {
                until("the write does not come again", async || position().await >= before + 2).await;
                cluster.network().heal();
            };
            let (written, ()) = tokio::join!(cluster.write(others[0], ()), heal);
            written.unwrap();
            cluster.check().await.map(drop)
        });
        assert!(matches!(found.await, ClusterError::AppliedTwice { .. }));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_election_without_a_majority_is_caught() {
        let found = with_and_without(Flaw::LoneElections, |flaw| async move {
            let (cluster, leader, others) = flawed(flaw).await;
            let alone = others[0];
            cluster.network().isolate(alone, cluster.nodes());
            for _ in 0..3 {
                cluster.write(leader, ()).await.unwrap();
            }
            if flaw.is_some() {
                let leads = async || cluster.member(alone).unwrap().leader() == Some(alone);
                until("nothing is planted", leads).await;
            }
            cluster.check().await.map(drop)
        });
        // What was committed cannot be overwritten: the cluster does not come together again, if
        // nothing worse happens.
        let found = found.await;
        assert!(
            matches!(
                found,
                ClusterError::Lost { .. }
                    | ClusterError::Diverged { .. }
                    | ClusterError::Digests(_)
                    | ClusterError::Stopped { .. }
                    | ClusterError::NotRecovered { .. }
            ),
            "{found}"
        );
    }
}
