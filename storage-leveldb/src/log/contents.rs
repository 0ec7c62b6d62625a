//! What the log holds, as its readers see it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{LogIdOf, VoteOf};

use super::tail::Tail;

/// The marks and the tail.
///
/// Invariants: `purged <= last`; the entries `first ..= last.index` exist, in the tail or in the
/// database; the vote is durable.
pub(super) struct Contents<C: RaftTypeConfig> {
    pub(super) vote: Option<VoteOf<C>>,
    pub(super) committed: Option<LogIdOf<C>>,
    pub(super) purged: Option<LogIdOf<C>>,
    /// The last entry's id; that of the last purged one if there are no entries.
    pub(super) last: Option<LogIdOf<C>>,
    /// The first entry's index, if there are entries.
    pub(super) first: u64,
    pub(super) tail: Tail,
}

/// The contents behind a lock that is held for memory operations only.
pub(super) struct SharedContents<C: RaftTypeConfig>(Mutex<Contents<C>>);

impl<C: RaftTypeConfig> SharedContents<C> {
    pub(super) fn new(contents: Contents<C>) -> Self {
        Self(Mutex::new(contents))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
