//! What the log holds beside its entries, as it is stored.

use bytes::Bytes;
use openraft::RaftTypeConfig;

use super::bundle::Bundle;
use super::command::Write;
use super::key::Mark;
use crate::engine::Batch;

/// The marks of the whole log, and where it ends, as of the last change that was asked for.
#[derive(Clone, Default)]
pub(crate) struct Marks {
    pub(crate) vote: Option<Bytes>,
    pub(crate) purged: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    /// The index behind the last entry that was ever written and not truncated.
    pub(crate) end: u64,
}

impl Marks {
    /// This is about to be done.
    pub(super) fn note<C: RaftTypeConfig>(&mut self, write: &Write<C>) {
        match write {
            Write::Append { bundles, .. } => self.end = bundles.last().map_or(self.end, Bundle::end),
            Write::Vote { record, .. } => self.vote = Some(record.clone()),
            Write::Truncate { from, .. } => self.end = *from,
            Write::Purge { record, .. } => self.purged = Some(record.clone()),
            Write::Committed { record } => self.committed = Some(record.clone()),
        }
    }

    /// Puts what a new segment begins with into a batch: where it starts, which is where the log
    /// ends, and all marks.
    pub(super) fn begin(&self, batch: &mut Batch) {
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
