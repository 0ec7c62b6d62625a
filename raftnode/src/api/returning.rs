//! Waiting for clients that come back: those that were answered together ask again at about the
//! same time.
//!
//! Without it the first to come back would go alone, and the others together after it: half of the
//! entries would carry next to nothing and cost as much as the others. A request that comes when
//! none was answered just before waits for nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after their answer requests are expected to be followed by others.
const RECENT: Duration = Duration::from_millis(2);
/// How long the first to come back waits for the others. A timer is not finer than this.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(1);

/// Requests that were answered and not followed by others yet. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub(super) struct Returning(Arc<Mutex<Option<Due>>>);

#[derive(Clone, Copy)]
struct Due {
    count: usize,
    since: Instant,
}

impl Returning {
    fn update(&self, change: impl FnOnce(Option<Due>) -> Option<Due>) {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *due = change(due.filter(|due| due.since.elapsed() < RECENT));
    }

    /// So many were answered just now.
    pub(super) fn answered(&self, count: usize) {
        let since = Instant::now();
        self.update(|due| Some(Due { count: due.map_or(0, |due| due.count) + count, since }));
    }

    /// So many have come.
    pub(super) fn came(&self, count: usize) {
        self.update(|due| {
            let Due { count: due, since } = due?;
            let left = due.checked_sub(count).filter(|left| *left > 0)?;
            Some(Due { count: left, since })
        });
    }

    /// One has come, and no other is expected. If others are, nothing is noted.
    pub(super) fn comes_alone(&self) -> bool {
        let mut comes_alone = true;
        self.update(|due| {
            comes_alone = due.is_none_or(|due| due.count <= 1);
            due.filter(|_| !comes_alone)
        });
        comes_alone
    }

    /// No more are waited for.
    pub(super) fn forget(&self) {
        self.update(|_| None);
    }

    /// Whether more are expected.
    pub(super) fn are_due(&self) -> bool {
        self.are_due_at(Instant::now())
    }

    fn are_due_at(&self, now: Instant) -> bool {
        let due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        due.is_some_and(|due| now.saturating_duration_since(due.since) < RECENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_answered_are_expected_until_as_many_have_come() {
        let returning = Returning::default();
        assert!(!returning.are_due());
        returning.answered(3);
        returning.answered(2);
        returning.came(4);
        assert!(returning.are_due());
        // More than were expected: others, too.
        returning.came(4);
        assert!(!returning.are_due());
        returning.answered(1);
        returning.forget();
        assert!(!returning.are_due());
    }

    /// A client that writes alone never waits, however quickly it comes back.
    #[test]
    fn a_client_that_comes_back_does_not_wait_for_itself() {
        let returning = Returning::default();
        for _ in 0..3 {
            assert!(returning.comes_alone());
            returning.answered(1);
            returning.came(1);
            assert!(!returning.are_due());
            returning.answered(1);
        }
        returning.answered(1);
        assert!(!returning.comes_alone(), "two were answered");
        assert!(returning.are_due());
    }

    #[test]
    fn nothing_is_expected_for_long() {
        let returning = Returning::default();
        returning.answered(1);
        assert!(returning.are_due());
        assert!(!returning.are_due_at(Instant::now() + RECENT));
    }
}
