//! Numbers, places and keys as LevelDB's table files have them.

use super::Damage;
use crate::file::u64_at;

/// The end of a table file: two handles, filled up, and the magic number.
pub(super) const FOOTER_BYTES: u64 = 48;
const FOOTER_MAGIC: u64 = 0xdb47_7524_8b80_fb57;
const FOOTER_MAGIC_AT: usize = 40;
/// Behind every block: its compression and LevelDB's checksum.
pub(super) const BLOCK_TRAILER_BYTES: u64 = 5;
/// Sequence number and type behind every key.
const TAG_BYTES: usize = 8;
const TYPE_VALUE: u64 = 1;

/// Takes a number off the front.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, Damage> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("it ends within a number")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is too long")
}

/// A number that counts bytes in memory.
pub(super) fn length(bytes: &mut &[u8]) -> Result<usize, Damage> {
    usize::try_from(varint(bytes)?).map_err(|_| "a length is too large")
}

/// Where a block is, its trailer not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Handle {
    /// Takes one off the front.
    pub(super) fn take(bytes: &mut &[u8]) -> Result<Self, Damage> {
        Ok(Self { offset: varint(bytes)?, bytes: varint(bytes)? })
    }

    /// All of `bytes`.
    pub(super) fn whole(mut bytes: &[u8]) -> Result<Self, Damage> {
        let handle = Self::take(&mut bytes)?;
        if bytes.is_empty() { Ok(handle) } else { Err("there is more behind a block's place") }
    }

    /// Where the next block begins; `None`: nowhere in a file.
    pub(super) fn end(self) -> Option<u64> {
        self.offset.checked_add(self.bytes)?.checked_add(BLOCK_TRAILER_BYTES)
    }
}

/// Where a table file's metaindex and index are.
pub(super) fn footer(mut bytes: &[u8]) -> Result<(Handle, Handle), Damage> {
    if u64_at(bytes, FOOTER_MAGIC_AT) != Some(FOOTER_MAGIC) {
        return Err("the footer is not that of a table");
    }
    Ok((Handle::take(&mut bytes)?, Handle::take(&mut bytes)?))
}

/// The user's key in LevelDB's, which must be that of a pair: a table has no deletions.
pub(super) fn user_key(internal: &[u8]) -> Result<&[u8], Damage> {
    let at = internal.len().checked_sub(TAG_BYTES).ok_or("a key is too short")?;
    let tag = u64_at(internal, at).unwrap_or_default();
    if tag & 0xff != TYPE_VALUE {
        return Err("a key that is not that of a value");
    }
    if tag >> 8 == 0 {
        return Err("a key without a sequence number");
    }
    Ok(internal.get(..at).unwrap_or_default())
}
