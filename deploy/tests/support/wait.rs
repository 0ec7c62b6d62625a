//! Waiting for conditions, with deadlines.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Looks until `look` answers `Ok`, and hands that out; fails the test with its last complaint when
/// `within` has passed.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        let complaint = match look() {
            Ok(found) => return found,
            Err(complaint) => complaint,
        };
        assert!(started.elapsed() < within, "{what}: not within {within:?}; at last: {complaint}");
        sleep(LOOK_AGAIN);
    }
}

/// `condition` as a look.
pub fn is(condition: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(complaint()) }
}
