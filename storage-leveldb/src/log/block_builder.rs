//! Encodes entries straight into the blocks that are stored, with as few allocations as there are
//! blocks.

use std::io;

use bytes::{Buf, Bytes};

use super::entry_block::{EntryBlock, LENGTH_BYTES, MAX_BLOCK_BYTES, MAX_ENTRIES};

/// Entries that follow each other, encoded.
pub(crate) struct EncodedEntries {
    pub(super) first: u64,
    pub(super) blocks: Vec<EntryBlock>,
    /// Of each entry; parts of the blocks.
    pub(super) records: Vec<Bytes>,
}

/// Builds the blocks of entries that follow each other.
///
/// Invariant: `buffer` is what is to become the next of `blocks`, and has records of these
/// `lengths`.
pub(crate) struct BlockBuilder {
    first: u64,
    buffer: Vec<u8>,
    lengths: Vec<usize>,
    blocks: Vec<EntryBlock>,
    records: Vec<Bytes>,
}

impl BlockBuilder {
    /// For entries from `first` on.
    pub(crate) fn new(first: u64) -> Self {
        let (buffer, lengths) = (Vec::new(), Vec::new());
        Self { first, buffer, lengths, blocks: Vec::new(), records: Vec::new() }
    }

    /// Adds the next entry, whose record `encode` appends to what it is given. Of no use any more
    /// after an error.
    pub(crate) fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        if self.lengths.len() as u64 == MAX_ENTRIES {
            self.end_block(self.buffer.len());
        }
        let before = self.buffer.len();
        self.buffer.extend([0; LENGTH_BYTES]);
        encode(&mut self.buffer)?;
        let length = self.buffer.len() - before - LENGTH_BYTES;
        let prefix = u32::try_from(length).map_err(io::Error::other)?.to_le_bytes();
        for (byte, of_length) in self.buffer.iter_mut().skip(before).zip(prefix) {
            *byte = of_length;
        }
        if before > 0 && self.buffer.len() > MAX_BLOCK_BYTES {
            self.end_block(before);
        }
        self.lengths.push(length);
        Ok(())
    }

    /// The first `bytes` of the buffer are a block.
    fn end_block(&mut self, bytes: usize) {
        // A copy: the buffer has more room than the block needs, and the tail would keep it.
        let rest = self.buffer.split_off(bytes);
        let value = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        self.buffer.extend_from_slice(&rest);
        let first = self.first + self.records.len() as u64;
        let mut unread = value.clone();
        for length in self.lengths.drain(..) {
            unread.advance(LENGTH_BYTES);
            self.records.push(unread.split_to(length));
        }
        debug_assert!(unread.is_empty(), "the block has the records of these lengths");
        let count = self.first + self.records.len() as u64 - first;
        self.blocks.push(EntryBlock::new(first, count, value));
    }

    /// What was added.
    pub(crate) fn finish(mut self) -> EncodedEntries {
        if !self.lengths.is_empty() {
            self.end_block(self.buffer.len());
        }
        let Self { first, blocks, records, .. } = self;
        EncodedEntries { first, blocks, records }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry_block::split;
    use super::super::key;
    use super::*;

    /// The entries in each block, after a look at what is stored.
    fn counts_of(sizes: &[usize]) -> Vec<u64> {
        const FIRST: u64 = 7;
        let mut builder = BlockBuilder::new(FIRST);
        let expected = sizes.iter().zip(0..).map(|(size, n)| vec![n as u8; *size]).collect::<Vec<_>>();
        for record in &expected {
            builder
                .add(|buffer| {
                    buffer.extend_from_slice(record);
                    Ok(())
                })
                .unwrap();
        }
        let EncodedEntries { first, blocks, records } = builder.finish();
        assert_eq!(first, FIRST);
        let (mut stored, mut counts) = (Vec::new(), Vec::new());
        for block in blocks {
            counts.push(block.count());
            let (key, value) = block.into_pair();
            assert_eq!(key::index_of(&key), Some(FIRST + stored.len() as u64));
            stored.extend(split(&value).unwrap());
        }
        assert_eq!(stored, records);
        assert_eq!(stored, expected);
        counts
    }

    #[test]
    fn blocks_end_where_they_are_full() {
        assert_eq!(counts_of(&[]), [0_u64; 0]);
        assert_eq!(counts_of(&[0, 10, 300]), [3]);
        assert_eq!(counts_of(&[1; 600]), [MAX_ENTRIES, MAX_ENTRIES, 600 - 2 * MAX_ENTRIES]);
        let large = MAX_BLOCK_BYTES;
        assert_eq!(counts_of(&[large, 1, 1, large, large, 1]), [1, 2, 1, 1, 1]);
        assert_eq!(counts_of(&[large / 2, large / 2, 1]), [1, 2]);
    }
}
