//! Disks that are full, slow, or do not answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use storage_leveldb::testing::Survival;

use super::{Cluster, ClusterError};
use crate::application::Application;
use crate::raft::NodeId;

/// As an operation's delay: until the disk answers again.
const HANGS: u64 = u64::MAX;
/// A hang lasts so long at most: a thread of this process that reads from the disk waits for it,
/// too.
const LONGEST_HANG: Duration = Duration::from_millis(1500);
/// How often an operation that hangs looks whether it may go on.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl<A: Application> Cluster<A> {
    /// There is no more room on the disk of `node`.
    pub(super) fn fill_disk(&self, node: NodeId) {
        if let Some(seat) = self.seats().get(&node) {
            seat.disk.set_capacity(Some(0));
        }
    }

    /// Each operation on the disk of `node` takes so much longer; none: the disk does not answer
    /// until it is [healed](Self::heal_disks), or 1.5 s have passed.
    pub(super) fn slow_disk(&self, node: NodeId, delay: Option<Duration>) {
        let millis = delay.map_or(HANGS, |delay| u64::from(delay.subsec_millis()));
        let delay = Arc::new(AtomicU64::new(millis));
        let (watched, begun) = (Arc::clone(&delay), Instant::now());
        if let Some(seat) = self.seats().get(&node) {
            // The disk is locked meanwhile, so its other operations wait.
            seat.disk.watch(move |_| match watched.load(Ordering::SeqCst) {
                0 => {}
                HANGS => {
                    while watched.load(Ordering::SeqCst) == HANGS && begun.elapsed() < LONGEST_HANG {
                        sleep(LOOK_AGAIN);
                    }
                }
                millis => sleep(Duration::from_millis(millis)),
            });
        }
        self.disk_delays.lock().unwrap_or_else(PoisonError::into_inner).push(delay);
    }

    /// Every disk has room and answers at once. A node whose disk was full has stopped: it is
    /// started again.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn heal_disks(&self) -> Result<(), ClusterError> {
        for delay in self.disk_delays.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            delay.store(0, Ordering::SeqCst);
        }
        for node in self.nodes() {
            let disk = self.seats().get(&node).map(|seat| seat.disk.clone());
            let was_full = disk.as_ref().is_some_and(|disk| disk.has_failed());
            disk.iter().for_each(|disk| disk.set_capacity(None));
            if was_full {
                self.crash(node, Survival::Everything).await;
                self.restart(node).await?;
            }
        }
        Ok(())
    }
}
