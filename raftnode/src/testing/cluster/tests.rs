//! The cluster keeps its promises, and notices when it does not.

use super::*;
use crate::application::{At, Transaction, View};

/// A sum.
struct Sum;

impl Application for Sum {
    const SCHEMA: u32 = 1;
    type Command = u64;
    type Response = u64;
    type Query = ();
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, add: u64) -> Result<u64, StorageError> {
        let before: u64 = txn.load(b"sum")?.unwrap_or_default();
        let sum = before + add;
        txn.store(b"sum", &sum)?;
        Ok(sum)
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
        Ok(view.load(b"sum")?.unwrap_or_default())
    }
}

const WRITES: u64 = 20;

/// What the first linearizable read answers after the leader's power failed and came back at once,
/// and what the check says. Its heartbeats arrive then, and its entries do not: that makes the
/// moment as long as the test needs.
async fn read_after_power_loss(restores_leaders: bool) -> (u64, Result<ClusterReport, ClusterError>) {
    let cluster = Cluster::start_as(3, 1, Arc::new(|| Sum), restores_leaders).await.unwrap();
    let leader = cluster.leader().await.unwrap();
    for _ in 0..WRITES {
        cluster.write(leader, 1).await.unwrap();
    }
    cluster.network().mute(leader);
    cluster.crash(leader, Survival::Nothing).await;
    cluster.restart(leader).await.unwrap();
    // The one that is back is asked first: if it leads on, it is before the others have noticed
    // anything.
    let first = tokio::time::timeout(Duration::from_millis(500), cluster.read(leader, ())).await;
    let sum = match first {
        Ok(Ok(sum)) => sum,
        _ => {
            cluster.network().heal();
            cluster.read(leader, ()).await.unwrap()
        }
    };
    (sum, cluster.check().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_a_power_loss_sees_every_acknowledged_write() {
    let (sum, checked) = read_after_power_loss(false).await;
    assert_eq!(sum, WRITES);
    let report = checked.unwrap();
    assert_eq!((report.acknowledged, report.reads, report.restarts), (WRITES, 1, 1), "{report}");
}

/// What the checked configuration is for, and that the check would tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_restored_answers_stale_reads_and_is_caught() {
    let (sum, checked) = read_after_power_loss(true).await;
    assert!(sum < WRITES);
    let error = checked.unwrap_err();
    assert!(matches!(error, ClusterError::StaleRead { acknowledged: WRITES, .. }), "{error}");
}
