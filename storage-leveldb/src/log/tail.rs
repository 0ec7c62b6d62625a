//! The newest entries, in memory, as the records that go to disk.
//!
//! Records and not entries, because what an entry holds on to is unknown: a value that arrived over
//! gRPC may be a slice of an 8 KiB buffer, and 100,000 such entries of 300 bytes kept 700 MB alive.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

#[cfg(feature = "testing")]
use crate::invariants::all_hold;

/// What a record costs in memory beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// Invariants: the log has the entries `log_start..end()`, in the tail or in segments; the tail
/// holds `first..end()` of them; every entry that is not yet durable is in it; apart from those it
/// holds at most `limit_bytes`.
pub(super) struct Tail {
    log_start: u64,
    first: u64,
    records: VecDeque<Bytes>,
    bytes: usize,
    limit_bytes: usize,
    durable_end: u64,
}

impl Tail {
    /// The empty tail of a durable log with these entries.
    pub(super) fn new(log: Range<u64>, limit_bytes: usize) -> Self {
        let Range { start: log_start, end } = log;
        let records = VecDeque::new();
        Self { log_start, first: end, records, bytes: 0, limit_bytes, durable_end: end }
    }

    /// Index of the oldest entry of the log; where it ends if there is none.
    pub(super) fn log_start(&self) -> u64 {
        self.log_start
    }

    /// Index of the oldest entry held; where the log ends if none is.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Index behind the newest entry.
    pub(super) fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Adds entries at [`end`](Self::end). A log without any may begin anywhere.
    pub(super) fn append(&mut self, first: u64, records: Vec<Bytes>) {
        if self.log_start == self.end() {
            (self.log_start, self.first, self.durable_end) = (first, first, first);
        }
        debug_assert_eq!(first, self.end(), "a log has no holes");
        for record in records {
            self.bytes += cost(&record);
            self.records.push_back(record);
        }
    }

    /// The log now ends before `end`.
    pub(super) fn truncate(&mut self, end: u64) {
        while self.end() > end {
            let Some(dropped) = self.records.pop_back() else {
                break;
            };
            self.bytes -= cost(&dropped);
        }
        self.durable_end = self.durable_end.min(end);
        self.first = self.first.min(end);
        self.log_start = self.log_start.min(end);
    }

    /// The log now starts at `start`, which may lie behind its end.
    pub(super) fn purge(&mut self, start: u64) {
        while self.first < start && self.pop_front() {}
        if self.records.is_empty() {
            self.first = self.first.max(start);
            self.durable_end = self.durable_end.max(start);
        }
        self.log_start = self.log_start.max(start);
    }

    /// Every entry before `end` is durable.
    pub(super) fn mark_durable(&mut self, end: u64) {
        self.durable_end = self.durable_end.max(end.min(self.end()));
        while self.bytes > self.limit_bytes && self.first < self.durable_end && self.pop_front() {}
    }

    fn pop_front(&mut self) -> bool {
        let Some(dropped) = self.records.pop_front() else {
            return false;
        };
        self.bytes -= cost(&dropped);
        self.first += 1;
        true
    }

    /// What must hold between two calls. That every entry which is not durable is there, the
    /// writer sees to.
    #[cfg(feature = "testing")]
    pub(super) fn check_invariants(&self) -> Result<(), &'static str> {
        let costs = || self.records.iter().map(cost);
        // What is purged need not have been durable: then there are none.
        let durable = self.first..self.durable_end;
        let durable_bytes: usize = durable.zip(costs()).map(|(_, cost)| cost).sum();
        all_hold(&[
            ("the log starts before the tail", self.log_start <= self.first),
            ("the tail counts the bytes of its records", self.bytes == costs().sum::<usize>()),
            ("no entry behind the end of the tail is durable", self.durable_end <= self.end()),
            ("durable entries in the tail are within its limit", durable_bytes <= self.limit_bytes),
        ])
    }

    /// Records of the entries of `range` from its start on, until they add up to `limit_bytes`; at
    /// least one if there is one. It must not start before [`first`](Self::first).
    pub(super) fn read(&self, range: Range<u64>, limit_bytes: usize) -> Vec<Bytes> {
        debug_assert!(range.start >= self.first, "entry {} is not in the tail", range.start);
        let mut bytes = 0_usize;
        let fits = |record: &&Bytes| {
            let is_first = bytes == 0;
            bytes += cost(record);
            is_first || bytes <= limit_bytes
        };
        let end = range.end.min(self.end());
        let held = self.place(range.start.min(end))..self.place(end);
        self.records.range(held).take_while(fits).cloned().collect()
    }

    /// Where the record of an entry is that is not behind the end.
    #[expect(clippy::expect_used, reason = "it says why it cannot be")]
    fn place(&self, index: u64) -> usize {
        usize::try_from(index - self.first).expect("no more than the records in memory")
    }
}

fn cost(record: &Bytes) -> usize {
    record.len() + RECORD_OVERHEAD_BYTES
}

/// The tail behind a lock that is held for memory operations only.
pub(super) struct SharedTail(Mutex<Tail>);

impl SharedTail {
    pub(super) fn new(tail: Tail) -> Self {
        Self(Mutex::new(tail))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(indexes: std::ops::Range<u64>, limit_bytes: usize) -> Tail {
        let mut tail = Tail::new(indexes.start..indexes.start, limit_bytes);
        tail.append(indexes.start, indexes.map(|_| Bytes::new()).collect());
        tail
    }

    #[test]
    fn what_is_not_durable_stays_whatever_it_costs() {
        let mut tail = tail_of(5..10, RECORD_OVERHEAD_BYTES);
        tail.mark_durable(7);
        assert_eq!((tail.first(), tail.end()), (7, 10));
        tail.mark_durable(10);
        assert_eq!((tail.first(), tail.end()), (9, 10));
    }

    #[test]
    fn reads_stop_at_the_byte_limit_but_return_one() {
        let tail = tail_of(5..10, usize::MAX);
        assert_eq!(tail.read(6..9, 2 * RECORD_OVERHEAD_BYTES).len(), 2);
        assert_eq!(tail.read(6..9, 0).len(), 1);
        assert_eq!(tail.read(8..100, usize::MAX).len(), 2);
    }

    #[test]
    fn truncating_before_the_tail_moves_it() {
        let mut tail = tail_of(5..10, usize::MAX);
        tail.truncate(3);
        assert_eq!((tail.first(), tail.end()), (3, 3));
    }

    #[test]
    fn what_does_not_hold_is_told() {
        let breaks: [fn(&mut Tail); 4] = [
            |tail| tail.bytes += 1,
            |tail| tail.durable_end = 11,
            |tail| tail.limit_bytes = 1,
            |tail| tail.log_start = 6,
        ];
        for (n, breaks) in breaks.into_iter().enumerate() {
            let mut tail = tail_of(5..10, usize::MAX);
            tail.mark_durable(8);
            assert_eq!(tail.check_invariants(), Ok(()));
            breaks(&mut tail);
            assert!(tail.check_invariants().is_err(), "break {n} is not found");
        }
    }

    #[test]
    fn purging_behind_the_end_moves_the_end() {
        let mut tail = tail_of(5..10, usize::MAX);
        tail.purge(20);
        assert_eq!((tail.first(), tail.end()), (20, 20));
    }

    #[test]
    fn a_log_without_entries_begins_where_the_first_append_does() {
        let mut tail = tail_of(5..10, usize::MAX);
        tail.mark_durable(10);
        tail.truncate(0);
        tail.append(3, vec![Bytes::new()]);
        assert_eq!((tail.log_start(), tail.first(), tail.end()), (3, 3, 4));
        assert_eq!(tail.check_invariants(), Ok(()));
    }
}
