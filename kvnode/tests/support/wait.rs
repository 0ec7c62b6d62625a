//! Waiting for conditions, with deadlines. Elsewhere tests sleep only to pace what they send.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until `look` answers `Ok`, and hands that out; fails the test with its last complaint when
/// `within` has passed.
pub async fn until<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        let complaint = match look().await {
            Ok(found) => return found,
            Err(complaint) => complaint,
        };
        assert!(started.elapsed() < within, "{what}: not within {within:?}; at last: {complaint}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Fails the test if `check` ever complains while `span` passes. For what must not happen: the span
/// is how long it is given to happen in.
pub async fn holds_for(what: &str, span: Duration, mut check: impl AsyncFnMut() -> Result<(), String>) {
    const LOOK_AGAIN: Duration = Duration::from_millis(100);
    let started = Instant::now();
    while started.elapsed() < span {
        if let Err(complaint) = check().await {
            panic!("{what}: no longer after {:?}: {complaint}", started.elapsed());
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Fails the test if none of a few attempts takes less than `limit`. What waits for something that
/// it should not wait for does so each time; other work of the machine is not always in the way.
pub async fn is_quick_once(what: &str, limit: Duration, mut attempt: impl AsyncFnMut() -> Duration) {
    const ATTEMPTS: usize = 4;
    let mut took = Vec::new();
    for _ in 0..ATTEMPTS {
        took.push(attempt().await);
        if took.last().is_some_and(|last| *last < limit) {
            return;
        }
    }
    panic!("{what}: each time later than {limit:?}: {took:?}");
}

/// `condition` as a look.
pub fn is(condition: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(complaint()) }
}
