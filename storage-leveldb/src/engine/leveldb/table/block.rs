//! A block: entries in key order, each key without what it shares with the one before.
//!
//! ```text
//! block     entries | restart u32 ... | number of restarts u32
//! entry     shared varint | not shared varint | value length varint | rest of the key | value
//! restart   offset of an entry that shares nothing
//! ```

use std::cmp::Ordering;

use super::Damage;
use super::layout::{length, user_key};
use crate::file::u32_at;

const RESTART_BYTES: usize = 4;
/// Most keys fit without a second allocation.
const KEY_BYTES: usize = 64;

/// Invariant: `restarts` has at least one, four bytes each.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    entries: &'a [u8],
    restarts: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block in `content`, which does not have its trailer any more.
    pub(super) fn parse(content: &'a [u8]) -> Result<Self, Damage> {
        let count_at = content.len().checked_sub(RESTART_BYTES).ok_or("a block is too short")?;
        let count = u32_at(content, count_at).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let restarts_at = count.checked_mul(RESTART_BYTES).and_then(|bytes| count_at.checked_sub(bytes));
        let restarts_at = restarts_at.filter(|_| count > 0).ok_or("a block's restarts are not in it")?;
        let (entries, rest) = content.split_at_checked(restarts_at).ok_or("a block is too short")?;
        let restarts = rest.get(..count_at - restarts_at).unwrap_or_default();
        debug_assert!(!restarts.is_empty() && restarts.len().is_multiple_of(RESTART_BYTES), "whole restarts");
        Ok(Self { entries, restarts })
    }

    pub(super) fn entries(&self) -> Entries<'a> {
        Entries::new(self.entries)
    }

    /// The entries from a restart on.
    fn entries_at(&self, restart: usize) -> Result<Entries<'a>, Damage> {
        let offset = u32_at(self.restarts, restart * RESTART_BYTES).unwrap_or(u32::MAX);
        let entries = usize::try_from(offset).ok().and_then(|offset| self.entries.get(offset..));
        Ok(Entries::new(entries.filter(|rest| !rest.is_empty()).ok_or("a restart is behind the entries")?))
    }

    /// Entries that begin at or before the first one that is not less than `key`.
    fn entries_near(&self, key: &[u8]) -> Result<Entries<'a>, Damage> {
        let (mut low, mut high) = (0, self.restarts.len() / RESTART_BYTES);
        // The key of restart `low` is less than `key`, or it is the first; that of `high` is not.
        while high - low > 1 {
            let middle = low.midpoint(high);
            if user_key(self.entries_at(middle)?.first_key()?)? < key { low = middle } else { high = middle }
        }
        if low == 0 { Ok(self.entries()) } else { self.entries_at(low) }
    }

    /// The entries from the first on that is not less than `key`, and its value; `None`: all are
    /// less.
    pub(super) fn seek(&self, key: &[u8]) -> Result<Option<(Entries<'a>, &'a [u8])>, Damage> {
        let mut entries = self.entries_near(key)?;
        while let Some(value) = entries.advance()? {
            if entries.user_key()? >= key {
                return Ok(Some((entries, value)));
            }
        }
        Ok(None)
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<&'a [u8]>, Damage> {
        let Some((mut entries, value)) = self.seek(key)? else { return Ok(None) };
        if entries.user_key()? != key {
            return Ok(None);
        }
        if entries.advance()?.is_some() && entries.user_key()?.cmp(key) != Ordering::Greater {
            return Err("a key is there twice, or the keys do not ascend");
        }
        Ok(Some(value))
    }
}

/// Entries one after the other; stands on none before the first [`advance`](Self::advance).
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    key: Vec<u8>,
}

/// Lengths at the beginning of an entry, which are taken off `rest`.
struct Lengths {
    shared: usize,
    unshared: usize,
    value: usize,
}

impl Lengths {
    fn take(rest: &mut &[u8]) -> Result<Self, Damage> {
        // Nearly always one byte each.
        let short = rest.split_first_chunk().filter(|([a, b, c], _)| (a | b | c) & 0x80 == 0);
        if let Some(([shared, unshared, value], behind)) = short {
            *rest = behind;
            return Ok(Self {
                shared: usize::from(*shared),
                unshared: usize::from(*unshared),
                value: usize::from(*value),
            });
        }
        Ok(Self { shared: length(rest)?, unshared: length(rest)?, value: length(rest)? })
    }
}

impl<'a> Entries<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, key: Vec::with_capacity(KEY_BYTES) }
    }

    /// Goes to the next entry and answers its value; `None`: there is no more.
    pub(super) fn advance(&mut self) -> Result<Option<&'a [u8]>, Damage> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let lengths = Lengths::take(&mut self.rest)?;
        if lengths.shared > self.key.len() {
            return Err("an entry shares more of its key than there is");
        }
        self.key.truncate(lengths.shared);
        let unshared = self.take(lengths.unshared)?;
        self.key.extend_from_slice(unshared);
        self.take(lengths.value).map(Some)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("an entry goes beyond its block")?;
        self.rest = rest;
        Ok(taken)
    }

    /// The whole key of the first entry, which shares nothing.
    fn first_key(mut self) -> Result<&'a [u8], Damage> {
        let lengths = Lengths::take(&mut self.rest)?;
        if lengths.shared != 0 {
            Err("the entry at a restart shares its key")
        } else {
            self.take(lengths.unshared)
        }
    }

    /// The key as it is stored.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The user's part of the key.
    pub(super) fn user_key(&self) -> Result<&[u8], Damage> {
        user_key(&self.key)
    }
}
