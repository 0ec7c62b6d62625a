//! What the log holds, as its readers see it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{LogIdOf, VoteOf};

use super::tail::Tail;
#[cfg(feature = "testing")]
use crate::invariants::all_hold;

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

#[cfg(feature = "testing")]
impl<C: RaftTypeConfig> Contents<C> {
    /// What must hold between two calls.
    fn check_invariants(&self) -> Result<(), &'static str> {
        self.tail.check_invariants()?;
        let end_of = |id: &Option<LogIdOf<C>>| id.as_ref().map(|id| id.index + 1);
        let (purged_end, end) = (end_of(&self.purged), end_of(&self.last));
        all_hold(&[
            ("nothing behind the last entry is purged", self.purged <= self.last),
            ("the tail ends with the last entry", end.is_none_or(|end| end == self.tail.end())),
            ("the log begins behind what is purged", purged_end.is_none_or(|purged| self.first == purged)),
            ("the log begins before it ends", self.first <= self.tail.end() || end.is_none()),
            ("the tail holds no entry that is purged", purged_end <= Some(self.tail.first())),
        ])
    }
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

    #[cfg(feature = "testing")]
    pub(super) fn check_invariants(&self) -> Result<(), &'static str> {
        self.lock().check_invariants()
    }
}
