//! Lines that wait for standard error.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

/// Lines that wait at most. A further one is dropped.
pub const MAX_QUEUED_LINES: usize = 16_384;
/// Bytes of lines that wait at most. A line that would be beyond is dropped.
pub const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;
/// How long the end of the process waits for lines to be written. A reader that has taken nothing
/// for as long before is not waited for at all.
pub const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// A bounded queue between the code that logs and the thread that writes. Adding a line takes a
/// lock that is held for memory operations only, and never waits for a reader.
///
/// Invariants: `bytes` is the sum of the lengths in `lines`; both are within their bounds.
pub(super) struct LineQueue {
    state: Mutex<State>,
    /// There is a line.
    filled: Condvar,
    /// There is none, and none is being written.
    emptied: Condvar,
    /// Every line ever dropped.
    dropped: IntCounter,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Since when the writer thread has been writing a line.
    writing: Option<Instant>,
    /// Dropped lines that no line speaks of yet.
    unsaid: u64,
}

impl LineQueue {
    pub(super) fn new() -> prometheus::Result<Self> {
        let help = "Log lines that were not written because the reader of standard error did not take them.";
        Ok(Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: IntCounter::new("log_lines_dropped_total", help)?,
        })
    }

    pub(super) fn dropped(&self) -> &IntCounter {
        &self.dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, or drops it if there is no room.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        let bytes = state.bytes + line.len();
        if state.lines.len() >= MAX_QUEUED_LINES || bytes > MAX_QUEUED_BYTES {
            state.unsaid += 1;
            self.dropped.inc();
            return;
        }
        state.bytes = bytes;
        state.lines.push_back(line);
        drop(state);
        self.filled.notify_one();
    }

    /// For the writer thread: the next line, once there is one.
    pub(super) fn next(&self) -> Vec<u8> {
        let mut state = self.lock();
        state.writing = None;
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.writing = Some(Instant::now());
                return line;
            }
            self.emptied.notify_all();
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the writer thread: the line could not be written.
    pub(super) fn lost(&self) {
        self.lock().unsaid += 1;
        self.dropped.inc();
    }

    /// For the writer thread, which can write again: how many lines were dropped before, to be
    /// said once. Not before half of the queue is free, so that a slow reader is not told after
    /// every line.
    pub(super) fn take_unsaid(&self) -> Option<u64> {
        let mut state = self.lock();
        let has_room = state.lines.len() <= MAX_QUEUED_LINES / 2 && state.bytes <= MAX_QUEUED_BYTES / 2;
        let unsaid = if has_room { std::mem::take(&mut state.unsaid) } else { 0 };
        (unsaid > 0).then_some(unsaid)
    }

    /// Waits until every line is written, but not for longer than `within`, counted from when the
    /// line that is being written was begun. Answers whether every line is written.
    pub(super) fn wait_until_empty(&self, within: Duration) -> bool {
        let started = Instant::now();
        let mut state = self.lock();
        loop {
            if state.lines.is_empty() && state.writing.is_none() {
                return true;
            }
            let waited = started.elapsed().max(state.writing.map_or(Duration::ZERO, |since| since.elapsed()));
            let Some(rest) = within.checked_sub(waited).filter(|rest| !rest.is_zero()) else { return false };
            state = self.emptied.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> LineQueue {
        LineQueue::new().unwrap()
    }

    #[test]
    fn lines_come_out_in_their_order() {
        let queue = queue();
        for line in [b"a", b"b", b"c"] {
            queue.push(line.to_vec());
        }
        assert_eq!([queue.next(), queue.next(), queue.next()].concat(), b"abc");
        assert_eq!((queue.take_unsaid(), queue.dropped().get()), (None, 0));
    }

    #[test]
    fn lines_beyond_the_bound_are_dropped_counted_and_said_once() {
        let queue = queue();
        for _ in 0..MAX_QUEUED_LINES + 7 {
            queue.push(vec![b'x']);
        }
        assert_eq!(queue.dropped().get(), 7);
        drop(queue.next());
        assert_eq!(queue.take_unsaid(), None, "a reader that has taken one line only is slow");
        for _ in 0..MAX_QUEUED_LINES / 2 {
            drop(queue.next());
        }
        assert_eq!((queue.take_unsaid(), queue.take_unsaid()), (Some(7), None));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let queue = queue();
        queue.push(vec![b'x'; MAX_QUEUED_BYTES]);
        queue.push(vec![b'y']);
        assert_eq!(queue.dropped().get(), 1);
        assert_eq!(queue.next().len(), MAX_QUEUED_BYTES);
        queue.push(vec![b'z']);
        assert_eq!((queue.next(), queue.dropped().get()), (vec![b'z'], 1));
    }

    #[test]
    fn the_end_waits_for_lines_and_not_for_a_reader_that_takes_none() {
        let queue = queue();
        assert!(queue.wait_until_empty(Duration::ZERO));
        queue.push(vec![b'x']);
        let within = Duration::from_millis(50);
        assert!(!queue.wait_until_empty(within));
        drop(queue.next());
        let begun = Instant::now();
        assert!(!queue.wait_until_empty(within), "it is still being written");
        assert!(begun.elapsed() >= within / 2);
        let again = Instant::now();
        assert!(!queue.wait_until_empty(within));
        assert!(again.elapsed() < within, "the same write is waited for once");
    }
}
