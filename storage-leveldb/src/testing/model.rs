//! What the storage was asked for, and what it has promised.
//!
//! Positions are ends: the index behind the last entry that counts, 0 if there is none.
//!
//! Several requests may be in flight: what a crash leaves is then what was promised, with the
//! first, or the first two, and so on, of those requests, never with a later one alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::type_config::alias::{LogIdOf, VoteOf};

use super::broken::Broken;
use super::found::Found;
use super::reference::Expected;
use super::subject::TestTypes;

/// As much of an entry is told in a failure's text.
const MAX_TEXT_CHARS: usize = 120;

/// An entry, as the codec has it: what was written is compared byte by byte.
#[derive(Debug)]
pub(crate) struct Logged<C: openraft::RaftTypeConfig> {
    pub(crate) log_id: LogIdOf<C>,
    pub(crate) record: Vec<u8>,
}

impl<C: TestTypes> Logged<C> {
    pub(crate) fn of(log_id: LogIdOf<C>, entry: &C::Entry) -> Result<Arc<Self>, Broken> {
        let record = codec::encode(entry).map_err(std::io::Error::from)?;
        Ok(Arc::new(Self { log_id, record }))
    }

    /// For a failure's text.
    pub(crate) fn text(record: &[u8]) -> String {
        let entry = codec::decode::<C::Entry>(record).map(|entry| entry.to_string());
        let text = entry.unwrap_or_else(|e| e.to_string());
        format!("{} bytes {}", record.len(), text.chars().take(MAX_TEXT_CHARS).collect::<String>())
    }

    pub(crate) fn entry(&self) -> Result<C::Entry, Broken> {
        codec::decode(&self.record).map_err(|e| Broken::Promise(format!("an entry cannot be decoded: {e}")))
    }
}

/// Invariants: `history` is every entry that has been in the log, or came with a snapshot, and was
/// not truncated; `states` has the state at every end up to the greatest that was applied. What is
/// called durable survives every crash from now on; the rest was asked for.
pub(crate) struct Model<C: openraft::RaftTypeConfig> {
    pub(crate) history: Arc<BTreeMap<u64, Arc<Logged<C>>>>,
    pub(crate) states: Arc<BTreeMap<u64, Arc<Expected<C>>>>,
    pub(crate) vote: Option<VoteOf<C>>,
    pub(crate) term: C::Term,
    pub(crate) log_end: u64,
    /// The same, but for purges since the last sync that reached behind the end.
    pub(crate) entries_end: u64,
    pub(crate) purged_end: u64,
    pub(crate) durable_purged_end: u64,
    /// Entries that no leader may ever replace.
    pub(crate) decided_end: u64,
    /// How far the log was told so.
    pub(crate) committed_end: u64,
    pub(crate) durable_committed_end: u64,
    pub(crate) applied_end: u64,
    pub(crate) durable_applied_end: u64,
    pub(crate) snapshot_end: u64,
    /// What else may have happened: the state after each request in flight, in the order in which
    /// they were made.
    pub(crate) in_flight: Vec<Arc<Model<C>>>,
}

impl<C: TestTypes> Clone for Model<C> {
    fn clone(&self) -> Self {
        let (history, states, vote) = (self.history.clone(), self.states.clone(), self.vote.clone());
        Self { history, states, vote, in_flight: self.in_flight.clone(), ..*self }
    }
}

impl<C: TestTypes> Model<C> {
    /// An empty storage.
    pub(crate) fn new(empty: Expected<C>) -> Self {
        Self {
            history: Arc::default(),
            states: Arc::new(BTreeMap::from([(0, Arc::new(empty))])),
            vote: None,
            term: C::Term::default(),
            log_end: 0,
            entries_end: 0,
            purged_end: 0,
            durable_purged_end: 0,
            decided_end: 0,
            committed_end: 0,
            durable_committed_end: 0,
            applied_end: 0,
            durable_applied_end: 0,
            snapshot_end: 0,
            in_flight: Vec::new(),
        }
    }

    /// The state after all requests in flight.
    pub(crate) fn after(&self) -> &Self {
        self.in_flight.last().map_or(self, |last| last)
    }

    /// The states that a crash may leave: requests take effect in their order, each whole.
    pub(crate) fn outcomes(&self) -> impl DoubleEndedIterator<Item = &Self> {
        std::iter::once(self).chain(self.in_flight.iter().map(|state| &**state))
    }

    pub(crate) fn logged(&self, index: u64) -> Result<&Arc<Logged<C>>, Broken> {
        let missing = || Broken::Promise(format!("the model has no entry {index}"));
        self.history.get(&index).ok_or_else(missing)
    }

    /// The id of the last entry before `end`.
    pub(crate) fn id_before(&self, end: u64) -> Option<LogIdOf<C>> {
        let index = end.checked_sub(1)?;
        self.history.get(&index).map(|logged| logged.log_id.clone())
    }

    pub(crate) fn state_at(&self, end: u64) -> Result<&Expected<C>, Broken> {
        let missing = || Broken::Promise(format!("nothing was ever applied up to {end}"));
        self.states.get(&end).map(|state| &**state).ok_or_else(missing)
    }

    /// The ends, for a failure's text.
    pub(crate) fn summary(&self) -> String {
        format!(
            "log {}..{} (entries to {}), purged {}..={}, committed {}..={}, decided {}, applied {}..={}, snapshot {}",
            self.purged_end,
            self.log_end,
            self.entries_end,
            self.durable_purged_end,
            self.purged_end,
            self.durable_committed_end,
            self.committed_end,
            self.decided_end,
            self.durable_applied_end,
            self.applied_end,
            self.snapshot_end
        )
    }

    /// Adds entries behind those known, none of which may be known.
    pub(crate) fn extend(&mut self, entries: impl IntoIterator<Item = Arc<Logged<C>>>) {
        let entries = entries.into_iter().map(|logged| (logged.log_id.index, logged));
        Arc::make_mut(&mut self.history).extend(entries);
    }

    /// Forgets the entries from `end` on.
    pub(crate) fn truncate(&mut self, end: u64) {
        if self.history.keys().next_back().is_some_and(|last| *last >= end) {
            drop(Arc::make_mut(&mut self.history).split_off(&end));
        }
    }

    /// The model after a crash that left what was found, which has been checked: all of that is
    /// durable.
    pub(crate) fn adopt(&self, found: &Found<C>) -> Self {
        let base = self.outcomes().rfind(|state| state.log_and_vote_are(found).is_ok()).unwrap_or(self);
        let mut model = Self { in_flight: Vec::new(), ..base.clone() };
        (model.log_end, model.purged_end) = (found.log_end(), found.purged_end());
        (model.applied_end, model.snapshot_end) = (found.applied_end(), found.snapshot_end());
        model.durable_applied_end = model.applied_end;
        model.committed_end = found.committed_end();
        model.log_is_synced();
        let history_end = model.log_end.max(found.restorable_end());
        // What was decided stays so, even if the mark is lost; an installed snapshot may be lost
        // whole.
        model.decided_end = model.decided_end.min(history_end);
        model.truncate(history_end);
        drop(Arc::make_mut(&mut model.states).split_off(&history_end.saturating_add(1)));
        model
    }

    /// The storage was closed in good order, and the disk is whole: nothing may be missing.
    pub(crate) fn settled(&self) -> Self {
        let mut model = Self { in_flight: Vec::new(), ..self.clone() };
        model.log_is_synced();
        model.durable_applied_end = model.applied_end;
        model
    }

    /// An older manifest was put back whose tables are all still there: the log has what the state
    /// has lost, or the storage is refused.
    pub(crate) fn with_an_older_state(&self) -> Self {
        Self { durable_applied_end: self.durable_purged_end, snapshot_end: 0, ..self.clone() }
    }

    /// The log has been synced: whatever it was asked before is durable.
    pub(crate) fn log_is_synced(&mut self) {
        self.entries_end = self.log_end;
        self.durable_purged_end = self.purged_end;
        self.durable_committed_end = self.committed_end;
    }
}

/// The model that a workload changes and the watcher of its disk copies.
pub(crate) struct SharedModel<C: openraft::RaftTypeConfig>(Mutex<Model<C>>);

impl<C: TestTypes> SharedModel<C> {
    pub(crate) fn new(model: Model<C>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(model)))
    }

    /// Never call the disk with it: the disk's watcher takes it while the disk is locked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Model<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn copy(&self) -> Model<C> {
        self.lock().clone()
    }

    /// Says what the next request may do, behind those in flight.
    pub(crate) fn announce(&self, change: impl FnOnce(&mut Model<C>)) {
        let mut model = self.lock();
        let mut next = Model { in_flight: Vec::new(), ..model.after().clone() };
        change(&mut next);
        model.in_flight.push(Arc::new(next));
    }

    /// The oldest request in flight has been served.
    pub(crate) fn done(&self) {
        let mut model = self.lock();
        let mut in_flight = std::mem::take(&mut model.in_flight).into_iter();
        if let Some(next) = in_flight.next() {
            *model = Model { in_flight: in_flight.collect(), ..(*next).clone() };
        }
    }

    /// All requests in flight have been served: the newest was synced, and with it those before.
    pub(crate) fn all_done(&self) {
        let mut model = self.lock();
        *model = Model { in_flight: Vec::new(), ..model.after().clone() };
    }
}
