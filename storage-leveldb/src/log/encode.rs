//! Making records of entries, and bundles of the records, with as few allocations as there are
//! bundles. Called by `append`.

use std::io;

use bytes::{Buf, BufMut, Bytes};
use openraft::RaftTypeConfig;
use openraft::entry::RaftEntry;

use super::bundle::{Bundle, LENGTH_BYTES, MAX_BUNDLE_BYTES, MAX_ENTRIES};

/// Entries that follow each other, encoded.
///
/// Invariants: `bundle` is what is to become the next of `bundles`, and has records of these
/// `lengths`; `next` is the index behind all.
pub(super) struct Encoder {
    next: u64,
    /// So many entries more are read back, however small.
    read_back: u64,
    bundle: Vec<u8>,
    lengths: Vec<usize>,
    record: Vec<u8>,
    bundles: Vec<Bundle>,
    records: Vec<Bytes>,
}

impl Encoder {
    /// For entries from `first` on. The first `read_back` of them are decoded again, and all large
    /// ones.
    pub(super) fn new(first: u64, read_back: u64) -> Self {
        Self {
            next: first,
            read_back,
            bundle: Vec::new(),
            lengths: Vec::new(),
            record: Vec::new(),
            bundles: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Adds the next entry, which can be decoded again: one that could not would stop every node
    /// that has it, at every start.
    pub(super) fn add<C: RaftTypeConfig>(&mut self, entry: &C::Entry) -> io::Result<()> {
        self.record.clear();
        codec::encode_onto(entry, &mut self.record)?;
        if self.read_back > 0 || self.record.len() > codec::MAX_UNQUESTIONED_BYTES {
            codec::decode::<C::Entry>(&self.record).map_err(|e| {
                let text = format!(
                    "entry {} cannot be read back, and is not stored: {e}; have `check_command` refuse such \
                     commands before they are proposed",
                    entry.log_id()
                );
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
            self.read_back = self.read_back.saturating_sub(1);
        }
        let bytes = self.bundle.len().saturating_add(LENGTH_BYTES).saturating_add(self.record.len());
        if self.lengths.len() as u64 >= MAX_ENTRIES || bytes > MAX_BUNDLE_BYTES {
            self.end_bundle();
        }
        self.bundle.put_u32_le(u32::try_from(self.record.len()).map_err(io::Error::other)?);
        self.bundle.extend_from_slice(&self.record);
        self.lengths.push(self.record.len());
        self.next += 1;
        Ok(())
    }

    fn end_bundle(&mut self) {
        let count = self.lengths.len() as u64;
        if count == 0 {
            return;
        }
        // A copy: the buffer has more room than the bundle needs, and the tail would keep it.
        let value = Bytes::copy_from_slice(&self.bundle);
        let mut rest = value.clone();
        for length in self.lengths.drain(..) {
            rest.advance(LENGTH_BYTES);
            self.records.push(rest.split_to(length));
        }
        self.bundles.push(Bundle::new(self.next - count, count, value));
        self.bundle.clear();
    }

    /// How many entries of the next encoder are to be read back.
    pub(super) fn read_back(&self) -> u64 {
        self.read_back
    }

    /// The bundles, and the record of each entry, which is a part of one.
    pub(super) fn finish(mut self) -> (Vec<Bundle>, Vec<Bytes>) {
        self.end_bundle();
        (self.bundles, self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bundle::split;
    use super::super::key;
    use super::*;

    openraft::declare_raft_types!(Types: D = String, R = String, Node = openraft::BasicNode);

    fn entry(index: u64, bytes: usize) -> <Types as RaftTypeConfig>::Entry {
        let leader = openraft::vote::leader_id_adv::LeaderId { term: 1, node_id: 1 };
        RaftEntry::new_normal(openraft::LogId::new(leader, index), "x".repeat(bytes))
    }

    /// The entries in each bundle, after a look at what is stored.
    fn counts_of(sizes: &[usize]) -> Vec<u64> {
        const FIRST: u64 = 7;
        let mut encoder = Encoder::new(FIRST, 1);
        let entries = (FIRST..).zip(sizes).map(|(index, size)| entry(index, *size)).collect::<Vec<_>>();
        entries.iter().for_each(|entry| encoder.add::<Types>(entry).unwrap());
        let (bundles, records) = encoder.finish();
        let (mut stored, mut counts) = (Vec::new(), Vec::new());
        for bundle in bundles {
            counts.push(bundle.count());
            let (key, value) = bundle.into_pair();
            assert_eq!(key::index_of(&key), Some(FIRST + stored.len() as u64));
            stored.extend(split(&value).unwrap());
        }
        assert_eq!(stored, records);
        for (record, entry) in stored.iter().zip(&entries) {
            assert_eq!(codec::decode::<<Types as RaftTypeConfig>::Entry>(record).unwrap(), *entry);
        }
        counts
    }

    #[test]
    fn bundles_end_where_they_are_full() {
        assert_eq!(counts_of(&[]), [0_u64; 0]);
        assert_eq!(counts_of(&[0, 10, 300]), [3]);
        assert_eq!(counts_of(&[1; 600]), [MAX_ENTRIES, MAX_ENTRIES, 600 - 2 * MAX_ENTRIES]);
        let large = MAX_BUNDLE_BYTES;
        assert_eq!(counts_of(&[large, 1, 1, large, large, 1]), [1, 2, 1, 1, 1]);
        assert_eq!(counts_of(&[large / 2, large / 2, 1]), [1, 2]);
    }
}
