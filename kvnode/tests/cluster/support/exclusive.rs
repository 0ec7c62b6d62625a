//! One test at a time: two clusters on two cores would disturb each other's timing.

use std::fs::File;

/// The right to run a cluster; ends when dropped.
pub struct Alone(#[allow(dead_code, reason = "held, not read")] File);

/// Waits until no other test of this package runs, in this process or another.
pub fn alone() -> Alone {
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/kvnode-cluster-tests.lock");
    let file = File::create(path).expect("the lock file can be made");
    file.lock().expect("the lock file can be locked");
    Alone(file)
}
