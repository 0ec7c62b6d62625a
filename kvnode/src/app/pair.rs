//! How a pair is stored: `[create_revision u64][mod_revision u64][version u64][value]`, integers
//! big endian.

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

const HEADER_BYTES: usize = 3 * size_of::<u64>();

/// A stored value and its history. A revision is how many writes had
/// changed something.
///
/// Invariants: `1 <= create_revision <= mod_revision`, `version >= 1`, and `version` is at most the
/// number of revisions from the first to the last write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairRecord {
    /// The write that created the key.
    pub create_revision: u64,
    /// The last write to the key.
    pub mod_revision: u64,
    /// Writes since the key was created, the first included.
    pub version: u64,
    /// The bytes the client stored.
    pub value: Bytes,
}

/// Stored bytes are not a pair record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// Shorter than the three integers.
    #[error("a pair record of {0} bytes is too short")]
    Truncated(usize),
    /// The three integers contradict each other.
    #[error("a pair record claims create revision {create}, mod revision {modified}, version {version}")]
    Impossible {
        /// Claimed create revision.
        create: u64,
        /// Claimed mod revision.
        modified: u64,
        /// Claimed version.
        version: u64,
    },
    /// What was merged came before what it was merged into.
    #[error("a write of revision {newer} is merged into one of revision {older}")]
    OutOfOrder {
        /// Of the last write in the one.
        older: u64,
        /// Of the first write in the other.
        newer: u64,
    },
}

impl PairRecord {
    /// A key's first write, at `revision`.
    #[must_use]
    pub fn created(revision: u64, value: Bytes) -> Self {
        Self { create_revision: revision, mod_revision: revision, version: 1, value }
    }

    /// The stored form of what `newer` makes of `older`. Either is the outcome of one write or of
    /// several in a row, the first of which [`created`](Self::created) the key as far as it knew.
    ///
    /// Associative: the outcome of several has the first one's create revision, the last one's
    /// value and mod revision, and the sum of their versions.
    ///
    /// # Errors
    /// [`PairError`] if either cannot have come from [`encode`](Self::encode).
    pub fn merge(older: &[u8], newer: &[u8]) -> Result<Vec<u8>, PairError> {
        let ((first, _), (last, value)) = (History::split(older)?, History::split(newer)?);
        if first.modified >= last.create {
            return Err(PairError::OutOfOrder { older: first.modified, newer: last.create });
        }
        let version = first.version.saturating_add(last.version);
        Ok(History { create: first.create, modified: last.modified, version }.encode(value))
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (create, modified, version) = (self.create_revision, self.mod_revision, self.version);
        History { create, modified, version }.encode(&self.value)
    }

    /// Reads the stored form; the value shares `bytes`' memory.
    ///
    /// # Errors
    /// [`PairError`] if the bytes cannot have come from [`encode`](Self::encode).
    pub fn decode(bytes: Bytes) -> Result<Self, PairError> {
        let (History { create, modified, version }, _) = History::split(&bytes)?;
        let value = bytes.slice(HEADER_BYTES..);
        Ok(Self { create_revision: create, mod_revision: modified, version, value })
    }
}

/// The integers of a record, which have been found to be possible.
#[derive(Debug, Clone, Copy)]
struct History {
    create: u64,
    modified: u64,
    version: u64,
}

impl History {
    /// The integers, and the value behind them.
    fn split(record: &[u8]) -> Result<(Self, &[u8]), PairError> {
        let mut rest = record;
        let mut number = || rest.try_get_u64().map_err(|_| PairError::Truncated(record.len()));
        let (create, modified, version) = (number()?, number()?, number()?);
        let writes = modified.checked_sub(create).map(|between| between.saturating_add(1));
        if create == 0 || version == 0 || writes.is_none_or(|writes| version > writes) {
            return Err(PairError::Impossible { create, modified, version });
        }
        Ok((Self { create, modified, version }, rest))
    }

    fn encode(self, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES.saturating_add(value.len()));
        bytes.extend(self.create.to_be_bytes());
        bytes.extend(self.modified.to_be_bytes());
        bytes.extend(self.version.to_be_bytes());
        bytes.extend_from_slice(value);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_history() {
        let written = |revision, value| PairRecord::created(revision, Bytes::from_static(value)).encode();
        let merge = |older: &[u8], newer: &[u8]| PairRecord::merge(older, newer).unwrap();
        let (a, b, c) = (written(7, b"a"), written(9, b""), written(12, b"c"));
        let record = |bytes: &[u8]| PairRecord::decode(Bytes::copy_from_slice(bytes)).unwrap();
        let all = merge(&merge(&a, &b), &c);
        assert_eq!(all, merge(&a, &merge(&b, &c)), "whichever is merged first");
        let expected =
            PairRecord { create_revision: 7, mod_revision: 12, version: 3, value: Bytes::from_static(b"c") };
        assert_eq!(record(&all), expected);
        for bytes in [a, b, c, all] {
            assert_eq!(record(&bytes).encode(), bytes);
        }
    }

    #[test]
    fn writes_that_are_merged_in_the_wrong_order_are_refused() {
        let written = |revision| PairRecord::created(revision, Bytes::new()).encode();
        for (older, newer) in [(7, 7), (8, 7)] {
            let merged = PairRecord::merge(&written(older), &written(newer));
            assert_eq!(merged, Err(PairError::OutOfOrder { older, newer }));
        }
        assert_eq!(PairRecord::merge(&written(1), &[0; 3]), Err(PairError::Truncated(3)));
        assert_eq!(PairRecord::merge(&[], &written(1)), Err(PairError::Truncated(0)));
    }

    #[test]
    fn every_short_record_is_refused() {
        let bytes = Bytes::from(PairRecord::created(7, Bytes::new()).encode());
        for cut in 0..HEADER_BYTES {
            assert_eq!(PairRecord::decode(bytes.slice(..cut)), Err(PairError::Truncated(cut)));
        }
    }

    #[test]
    fn impossible_histories_are_refused() {
        for (create, modified, version) in
            [(0, 0, 1), (1, 1, 0), (2, 1, 1), (1, 2, 3), (1, u64::MAX, u64::MAX)]
        {
            let record =
                PairRecord { create_revision: create, mod_revision: modified, version, value: Bytes::new() };
            let decoded = PairRecord::decode(record.encode().into());
            let possible =
                version != 0 && create != 0 && modified >= create && version <= modified - create + 1;
            assert_eq!(decoded.is_ok(), possible, "{create} {modified} {version}");
        }
    }
}
