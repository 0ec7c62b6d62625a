//! What the log holds beside its entries, as it is stored.

use bytes::Bytes;

use super::bundle::Bundle;
use super::key::Mark;
use super::request::Write;
use crate::engine::Batch;

/// Version of what is in a segment.
pub(super) const FORMAT: u8 = 1;

/// The marks of the whole log, and where it ends, as of the last change that was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    pub(crate) vote: Option<Bytes>,
    pub(crate) purged: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    /// The index behind the last entry that was ever written and not truncated.
    pub(crate) end: u64,
}

impl Marks {
    /// This is about to be done.
    pub(super) fn note(&mut self, write: &Write) {
        match write {
            Write::Append { bundles, .. } => self.end = bundles.last().map_or(self.end, Bundle::end),
            Write::Vote { record, .. } => self.vote = Some(record.clone()),
            Write::Truncate { from, .. } => self.end = *from,
            Write::Purge(log_id) => self.purged = Some(log_id.record.clone()),
        }
    }

    /// Puts what a new segment begins with into a batch: its format, where it starts, which is
    /// where the log ends, and all marks.
    pub(super) fn begin(&self, batch: &mut Batch) {
        batch.put(Mark::Format.key(), vec![FORMAT].into());
        batch.put(Mark::Start.key(), start_record(self.end));
        let marks =
            [(Mark::Vote, &self.vote), (Mark::Purged, &self.purged), (Mark::Committed, &self.committed)];
        for (mark, record) in marks {
            if let Some(record) = record {
                batch.put(mark.key(), record.clone());
            }
        }
    }
}

/// The record of [`Mark::Start`].
#[expect(clippy::expect_used, reason = "it says why it cannot be")]
pub(super) fn start_record(start: u64) -> Bytes {
    codec::encode(&start).expect("a number always encodes").into()
}
