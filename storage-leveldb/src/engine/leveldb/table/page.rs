//! What a scan has gathered.

use bytes::Bytes;

use super::Damage;
use super::block::{Block, Entries};
use crate::scan::{KeyRange, ScanLimit};

/// Pairs of one scan, over as many blocks and table files as it takes.
///
/// The pairs of one block share one allocation, which has nothing else in it.
pub(super) struct Page<'a> {
    range: &'a KeyRange,
    limit: ScanLimit,
    found: Vec<(Bytes, Bytes)>,
    bytes: usize,
    last: Vec<u8>,
    is_complete: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(range: &'a KeyRange, limit: ScanLimit) -> Self {
        Self { range, limit, found: Vec::new(), bytes: 0, last: Vec::new(), is_complete: false }
    }

    pub(super) fn range(&self) -> &KeyRange {
        self.range
    }

    /// Nothing more belongs to it.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// How many bytes may still come, at least one pair being taken whatever it has.
    pub(super) fn room_bytes(&self) -> usize {
        self.limit.bytes.saturating_sub(self.bytes)
    }

    pub(super) fn into_found(self) -> Vec<(Bytes, Bytes)> {
        self.found
    }

    /// Adds what belongs to it of a block that has no key greater than `separator`.
    pub(super) fn add(&mut self, block: &Block<'_>, separator: &[u8]) -> Result<(), Damage> {
        let mut next = block.seek(&self.range.start)?;
        let (mut gathered, mut lengths) = (Vec::new(), Vec::new());
        while let Some((mut entries, value)) = next {
            if !self.take(&entries, value, separator, &mut gathered, &mut lengths)? {
                break;
            }
            next = entries.advance()?.map(|value| (entries, value));
        }
        let mut gathered = Bytes::from(gathered);
        let mut split = |len: usize| gathered.split_to(len.min(gathered.len()));
        self.found.extend(lengths.into_iter().map(|(key, value)| (split(key), split(value))));
        Ok(())
    }

    /// Takes one pair; answers whether more may follow.
    fn take(
        &mut self,
        entries: &Entries<'_>,
        value: &[u8],
        separator: &[u8],
        gathered: &mut Vec<u8>,
        lengths: &mut Vec<(usize, usize)>,
    ) -> Result<bool, Damage> {
        let key = entries.user_key()?;
        let is_first = self.found.is_empty() && lengths.is_empty();
        if (!is_first && key <= &*self.last) || key > separator {
            return Err("the keys do not ascend");
        }
        if !self.range.contains(key) {
            self.is_complete = true;
            return Ok(false);
        }
        gathered.extend_from_slice(key);
        gathered.extend_from_slice(value);
        lengths.push((key.len(), value.len()));
        key.clone_into(&mut self.last);
        self.bytes += key.len() + value.len();
        let pairs = self.found.len() + lengths.len();
        self.is_complete = self.limit.is_reached(pairs, self.bytes);
        Ok(!self.is_complete)
    }
}
