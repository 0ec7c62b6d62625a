//! The two file formats below LevelDB: every byte on disk is covered by a checksum.
//!
//! [`framed`] for files written from front to back and read the same way (LevelDB's logs, MANIFEST
//! and CURRENT, snapshots, our own markers); [`paged`] for files read at random (LevelDB's tables).
//! [`witness`] is a framed file that tells how much of the others was durable. `docs/FORMAT.md`
//! draws both.

pub(crate) mod framed;
pub(crate) mod framed_reader;
pub(crate) mod marker;
pub(crate) mod paged;
mod reserved;
pub(crate) mod witness;

/// Reads a little-endian `u32` at `at`, if it is there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// Reads a little-endian `u64` at `at`, if it is there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let end = at.checked_add(8)?;
    Some(u64::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}
