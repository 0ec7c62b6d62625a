//! What the log holds beside its entries, as it is stored.

use bytes::Bytes;

use super::entry_block::EntryBlock;
use super::key::MetaKey;
use super::request::Request;
use crate::engine::Batch;

/// The vote, the committed and the purged id, as records, and where the log ends: as of the last
/// change that was asked for.
#[derive(Clone, Default)]
pub(super) struct HardState {
    pub(super) vote: Option<Bytes>,
    /// A [`PurgePoint`](super::PurgePoint), encoded.
    pub(super) purged: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    /// Where the log ends, or before: a purge behind the end does not move it.
    pub(super) end: u64,
}

impl HardState {
    /// This is about to be done.
    pub(super) fn note(&mut self, request: &Request) {
        match request {
            Request::Append { blocks, .. } => self.end = blocks.last().map_or(self.end, EntryBlock::end),
            Request::Vote { record, .. } => self.vote = Some(record.clone()),
            Request::Truncate { from, .. } => self.end = *from,
            Request::Purge { record, .. } => self.purged = Some(record.clone()),
            Request::Committed { record } => self.committed = Some(record.clone()),
        }
    }

    /// Puts what a new segment begins with into a batch: where it starts, which is where the log
    /// ends, and all of this.
    pub(super) fn begin(&self, batch: &mut Batch) {
        batch.put(MetaKey::Start.key(), start_record(self.end));
        let records = [
            (MetaKey::Vote, &self.vote),
            (MetaKey::Purged, &self.purged),
            (MetaKey::Committed, &self.committed),
        ];
        for (key, record) in records {
            if let Some(record) = record {
                batch.put(key.key(), record.clone());
            }
        }
    }
}

/// The record of [`MetaKey::Start`].
#[expect(clippy::expect_used, reason = "it says why it cannot be")]
pub(super) fn start_record(start: u64) -> Bytes {
    codec::encode(&start).expect("a number always encodes").into()
}
