//! A bound on lines that clients can cause.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one kind in each [`WINDOW`].
const LINES_PER_WINDOW: u32 = 5;
/// How long a count lasts.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts the lines of one kind.
#[derive(Debug)]
pub(crate) struct Throttle {
    lines: u32,
    window: Duration,
    state: Mutex<State>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { lines: LINES_PER_WINDOW, window: WINDOW, state: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl Throttle {
    /// One line in this time.
    pub(crate) fn once_in(window: Duration) -> Self {
        Self { lines: 1, window, state: Mutex::default() }
    }

    /// Whether a line may be written now; if so, how many were not since the last one.
    pub(crate) fn allow(&self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    fn allow_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= self.window) {
            (state.since, state.lines) = (Some(now), 0);
        }
        if state.lines >= self.lines {
            state.suppressed += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

/// What is found wrong again and again is news at the second look, and then no more: a file that is
/// just being replaced is not.
#[derive(Debug, Default)]
pub(crate) struct Persistent(Option<(String, bool)>);

impl Persistent {
    /// This is found wrong now; answers whether it is to be said.
    pub(crate) fn is_news(&mut self, text: &str) -> bool {
        match &mut self.0 {
            Some((before, is_said)) if before == text => !std::mem::replace(is_said, true),
            _ => {
                self.0 = Some((text.to_owned(), false));
                false
            }
        }
    }

    /// Nothing is wrong now.
    pub(crate) fn is_over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_wrong_is_said_at_the_second_look_and_once() {
        let mut wrong = Persistent::default();
        assert_eq!(
            ["a", "a", "a", "b", "b", "b"].map(|text| wrong.is_news(text)),
            [false, true, false, false, true, false]
        );
        wrong.is_over();
        assert_eq!(["b", "b"].map(|text| wrong.is_news(text)), [false, true]);
    }

    #[test]
    fn a_flood_costs_a_few_lines_and_the_next_says_how_many_are_missing() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let lines = (0..1000).filter(|_| throttle.allow_at(start).is_some()).count();
        assert_eq!(lines, 5);
        assert_eq!(throttle.allow_at(start + WINDOW / 2), None);
        assert_eq!(throttle.allow_at(start + WINDOW), Some(996));
        assert_eq!(throttle.allow_at(start + WINDOW), Some(0));
    }
}
