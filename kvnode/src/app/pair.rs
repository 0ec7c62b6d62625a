//! How a pair is stored: `[create_revision u64][mod_revision u64][version u64][value]`, integers
//! big endian.

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

const HEADER_BYTES: usize = 3 * size_of::<u64>();

/// A stored value and its history. Revisions are Raft log indexes.
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
}

impl PairRecord {
    /// A key's first write, at `revision`.
    #[must_use]
    pub fn created(revision: u64, value: Bytes) -> Self {
        Self { create_revision: revision, mod_revision: revision, version: 1, value }
    }

    /// The write after this one, at `revision`.
    #[must_use]
    pub fn replaced(&self, revision: u64, value: Bytes) -> Self {
        Self {
            create_revision: self.create_revision,
            mod_revision: revision,
            version: self.version.saturating_add(1),
            value,
        }
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.value.len());
        bytes.extend(self.create_revision.to_be_bytes());
        bytes.extend(self.mod_revision.to_be_bytes());
        bytes.extend(self.version.to_be_bytes());
        bytes.extend_from_slice(&self.value);
        bytes
    }

    /// Reads the stored form; the value shares `bytes`' memory.
    ///
    /// # Errors
    /// [`PairError`] if the bytes cannot have come from [`encode`](Self::encode).
    pub fn decode(mut bytes: Bytes) -> Result<Self, PairError> {
        if bytes.len() < HEADER_BYTES {
            return Err(PairError::Truncated(bytes.len()));
        }
        let (create, modified, version) = (bytes.get_u64(), bytes.get_u64(), bytes.get_u64());
        let writes = modified.checked_sub(create).map(|between| between.saturating_add(1));
        if create == 0 || version == 0 || writes.is_none_or(|writes| version > writes) {
            return Err(PairError::Impossible { create, modified, version });
        }
        Ok(Self { create_revision: create, mod_revision: modified, version, value: bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_history() {
        let first = PairRecord::created(7, Bytes::from_static(b"a"));
        let second = first.replaced(9, Bytes::from_static(b""));
        assert_eq!((second.create_revision, second.mod_revision, second.version), (7, 9, 2));
        for record in [first, second] {
            assert_eq!(PairRecord::decode(record.encode().into()).unwrap(), record);
        }
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
