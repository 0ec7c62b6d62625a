//! Whether stored pairs are what this application writes. Called by `kvnode check`, for every pair.

use std::cell::Cell;

use bytes::Bytes;
use raftnode::check::PairCheck;

use super::application::decode_revision;
use super::{PairRecord, keys};

/// Looks at what is stored, in the order of the keys: the revision comes after the pairs.
#[derive(Debug, Default)]
pub(crate) struct StoredPairs {
    last_revision: Cell<u64>,
    has_revision: Cell<bool>,
}

impl PairCheck for StoredPairs {
    fn pair(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if keys::user_key_of(key).is_some() {
            let pair = PairRecord::decode(Bytes::copy_from_slice(value)).map_err(|e| e.to_string())?;
            self.last_revision.set(self.last_revision.get().max(pair.mod_revision));
            return Ok(());
        }
        if key != keys::REVISION {
            return Err("neither a pair nor the revision".to_owned());
        }
        self.has_revision.set(true);
        let (revision, last) =
            (decode_revision(Some(value)).map_err(|e| e.to_string())?, self.last_revision.get());
        if last > revision {
            return Err(format!("the revision is {revision}, but a pair was written at {last}"));
        }
        Ok(())
    }

    fn end(&self) -> Result<(), String> {
        match self.last_revision.get() {
            last if last > 0 && !self.has_revision.get() => {
                Err(format!("the revision is missing, although a pair was written at {last}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_application_writes_is_right_and_everything_else_is_told() {
        let pair = PairRecord::created(7, Bytes::from_static(b"v")).encode();
        let stored = StoredPairs::default();
        stored.end().unwrap();
        stored.pair(&keys::pair(b"k"), &pair).unwrap();
        assert!(stored.end().unwrap_err().contains("revision is missing"));
        stored.pair(&keys::REVISION, &7_u64.to_le_bytes()).unwrap();
        stored.end().unwrap();
        for (key, value, part) in [
            (keys::REVISION.to_vec(), 6_u64.to_le_bytes().to_vec(), "written at 7"),
            (keys::REVISION.to_vec(), vec![0; 7], "8 bytes"),
            (keys::pair(b"k"), pair[..20].to_vec(), "too short"),
            (keys::pair(b""), pair.clone(), "neither"),
            (b"x".to_vec(), pair, "neither"),
        ] {
            let reason = stored.pair(&key, &value).unwrap_err();
            assert!(reason.contains(part), "no '{part}' in {reason}");
        }
    }
}
