//! How many clusters run at once on a machine of two cores.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

/// Most tests wait for something most of the time, and few have to be alone.
const CLUSTERS_AT_ONCE: usize = 4;
const POLL: Duration = Duration::from_millis(20);

/// The right to run a cluster; ends when dropped.
pub struct Places(#[allow(dead_code, reason = "held, not read")] Vec<File>);

/// Waits until no other test of this package runs, in this process or another: for a test that
/// measures time, memory or work, or takes all that the machine has.
pub fn alone() -> Places {
    let lock = |place| {
        let file = place_file(place);
        file.lock().expect("the lock file can be locked");
        file
    };
    Places((0..CLUSTERS_AT_ONCE).map(lock).collect())
}

/// Waits for one of the places.
pub fn beside_others() -> Places {
    loop {
        for place in 0..CLUSTERS_AT_ONCE {
            let file = place_file(place);
            match file.try_lock() {
                Ok(()) => return Places(vec![file]),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => panic!("the lock file cannot be locked: {e}"),
            }
        }
        thread::sleep(POLL);
    }
}

fn place_file(place: usize) -> File {
    let path = format!("{}/kvnode-cluster-tests-{place}.lock", env!("CARGO_TARGET_TMPDIR"));
    File::create(path).expect("the lock file can be made")
}
