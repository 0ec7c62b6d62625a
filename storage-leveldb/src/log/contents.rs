//! Which entries the log has, as its readers see it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::request::StoredLogId;
use super::tail::Tail;
#[cfg(feature = "testing")]
use crate::invariants::all_hold;

/// Invariant: the entries from `first` up to the end of the tail exist, in the tail or in the
/// segments.
pub(super) struct Contents {
    /// The first entry's index, if there are entries; where the log ends, if there are none.
    pub(super) first: u64,
    pub(super) tail: Tail,
    /// Up to where the log is committed, until it is among what is written.
    pub(super) committed: Option<StoredLogId>,
}

/// The contents behind a lock that is held for memory operations only.
pub(super) struct SharedContents(Mutex<Contents>);

impl SharedContents {
    pub(super) fn new(first: u64, tail: Tail) -> Self {
        Self(Mutex::new(Contents { first, tail, committed: None }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The committed mark for a group behind which the log ends with `end`, if it has not been
    /// written yet. One that speaks of later entries waits for them.
    pub(super) fn take_committed(&self, end: u64) -> Option<StoredLogId> {
        self.lock().committed.take_if(|committed| committed.index < end)
    }

    /// What must hold between two calls.
    #[cfg(feature = "testing")]
    pub(super) fn check_invariants(&self) -> Result<(), &'static str> {
        let contents = self.lock();
        contents.tail.check_invariants()?;
        all_hold(&[
            ("the log begins before it ends", contents.first <= contents.tail.end()),
            ("the tail holds no entry that is purged", contents.first <= contents.tail.first()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_committed_mark_waits_for_the_entry_that_it_speaks_of() {
        let contents = SharedContents::new(1, Tail::new(1, 0));
        assert_eq!(contents.take_committed(8), None);
        let mark = StoredLogId { index: 7, record: Bytes::from_static(b"mark") };
        contents.lock().committed = Some(mark.clone());
        assert_eq!(contents.take_committed(7), None, "entry 7 is not among what is written");
        assert_eq!(contents.take_committed(8), Some(mark));
        assert_eq!(contents.take_committed(9), None, "it has been written");
    }
}
