//! The time that all members agree on.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A moment in the life of a cluster: stamped into every entry by the leader, from a monotonic
/// clock. It never goes back, is the same on every member, and stands still while no member runs.
/// It says nothing about the time of day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterTime(u64);

impl ClusterTime {
    /// `millis` after the cluster's first command.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the cluster's first command.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long `earlier` was before; zero if it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for ClusterTime {
    type Output = Self;

    /// The last moment there is, if it would be later than that.
    fn add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for ClusterTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0 / 1000, self.0 % 1000)
    }
}

/// This node's estimate of the cluster's time: the time of the last entry applied, and what has
/// passed since then on the monotonic clock. The next leader goes on from there.
pub(crate) struct Clock(Mutex<(ClusterTime, Instant)>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((ClusterTime::default(), Instant::now())))
    }

    /// An entry of this time was applied just now.
    pub(crate) fn applied(&self, time: ClusterTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (time, Instant::now());
    }

    pub(crate) fn now(&self) -> ClusterTime {
        let (time, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        time + at.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_from_what_was_applied() {
        let clock = Clock::new();
        let before = clock.now();
        clock.applied(ClusterTime::from_millis(90_000));
        let now = clock.now();
        assert!(now >= ClusterTime::from_millis(90_000) && now.since(before) >= Duration::from_secs(89));
        assert_eq!(ClusterTime::from_millis(61_007).to_string(), "61.007 s");
        assert_eq!(before.since(now), Duration::ZERO);
    }
}
