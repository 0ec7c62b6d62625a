//! Where what is kept in the state machine's pairs.
//!
//! `a` + key is a pair of the application; `m` is the [`Meta`] record; `s` + generation (big
//! endian) + client id is a session. None can collide with another whatever bytes a key has.

use bytes::Bytes;
use storage_leveldb::scan::KeyRange;

use super::digest::Digest;
use super::time::ClusterTime;

const APPLICATION: u8 = b'a';
const META: u8 = b'm';
const SESSIONS: u8 = b's';

/// What is kept under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// A pair of the application, under this key of its own.
    Application(&'a [u8]),
    /// How far the application is.
    Meta,
    /// A session of this generation.
    Session(u64),
}

impl<'a> Place<'a> {
    /// What is kept under this key; `None` if a node keeps nothing there.
    pub(crate) fn of(key: &'a [u8]) -> Option<Self> {
        match key.split_first()? {
            (&APPLICATION, key) => Some(Self::Application(key)),
            (&META, []) => Some(Self::Meta),
            (&SESSIONS, rest) => {
                let (generation, client_id) = rest.split_first_chunk()?;
                (client_id.len() == 16).then(|| Self::Session(u64::from_be_bytes(*generation)))
            }
            _ => None,
        }
    }
}

/// The application's own `key`.
pub(super) fn application(key: &[u8]) -> Vec<u8> {
    [&[APPLICATION], key].concat()
}

/// The application's own `range`.
pub(super) fn application_range(range: &KeyRange) -> KeyRange {
    let all = KeyRange::prefix(&[APPLICATION]);
    let end = range.end.as_deref().map(|end| Bytes::from(application(end)));
    KeyRange { start: application(&range.start).into(), end: end.or(all.end) }
}

/// The application's own part of a key that was found within such a range.
pub(super) fn without_prefix(key: &Bytes) -> Bytes {
    debug_assert!(key.first() == Some(&APPLICATION), "a key outside of the application's range");
    key.slice(1..)
}

/// Where a client's session of one generation is kept.
pub(super) fn session(generation: u64, client_id: &[u8; 16]) -> Vec<u8> {
    let mut key = sessions_of(generation);
    key.extend_from_slice(client_id);
    key
}

/// The place of the same client's session in another generation.
pub(super) fn in_generation(session_key: &[u8], generation: u64) -> Vec<u8> {
    let client_id = session_key.get(1 + size_of::<u64>()..).unwrap_or_default();
    [&*sessions_of(generation), client_id].concat()
}

/// Every session of a generation before this one.
pub(super) fn sessions_before(generation: u64) -> KeyRange {
    KeyRange { start: sessions_of(0).into(), end: Some(sessions_of(generation).into()) }
}

fn sessions_of(generation: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + size_of::<u64>() + 16);
    key.push(SESSIONS);
    key.extend(generation.to_be_bytes());
    key
}

/// How far the application is: `[position u64][time u64, milliseconds][schema u32][digest u64]`,
/// little endian.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Commands applied so far.
    pub(crate) position: u64,
    /// Of the last entry.
    pub(crate) time: ClusterTime,
    /// The latest in force.
    pub(crate) schema: u32,
    /// Of everything applied so far.
    pub(crate) digest: Digest,
}

impl Meta {
    pub(super) const KEY: [u8; 1] = [META];

    pub(crate) fn encode(self) -> [u8; 28] {
        let mut bytes = [0; 28];
        let (position, rest) = bytes.split_at_mut(8);
        let (time, rest) = rest.split_at_mut(8);
        let (schema, digest) = rest.split_at_mut(4);
        position.copy_from_slice(&self.position.to_le_bytes());
        time.copy_from_slice(&self.time.as_millis().to_le_bytes());
        schema.copy_from_slice(&self.schema.to_le_bytes());
        digest.copy_from_slice(&self.digest.to_bits().to_le_bytes());
        bytes
    }

    /// `None`: these are not the bytes of one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (position, rest) = bytes.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (schema, digest) = rest.split_first_chunk()?;
        Some(Self {
            position: u64::from_le_bytes(*position),
            time: ClusterTime::from_millis(u64::from_le_bytes(*time)),
            schema: u32::from_le_bytes(*schema),
            digest: Digest::from_bits(u64::from_le_bytes(digest.try_into().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_of_an_application_is_anything_else() {
        for key in [&b""[..], b"m", b"s", &[0xff; 40]] {
            assert_eq!(Place::of(&application(key)), Some(Place::Application(key)));
            let all = application_range(&KeyRange::all());
            let key = application(key);
            assert!(*key >= *all.start && all.end.is_none_or(|end| *key < *end));
        }
        assert_eq!(Place::of(&Meta::KEY), Some(Place::Meta));
        assert_eq!(Place::of(&session(7, &[1; 16])), Some(Place::Session(7)));
        for wrong in [&b""[..], b"mm", b"x", &session(7, &[1; 16])[..24]] {
            assert_eq!(Place::of(wrong), None);
        }
    }

    #[test]
    fn meta_is_read_back() {
        let digest = Digest::from_bits(u64::MAX - 1);
        let meta = Meta { position: 7, time: ClusterTime::from_millis(9), schema: 2, digest };
        assert_eq!(Meta::decode(&meta.encode()), Some(meta));
        assert_eq!(Meta::decode(&meta.encode()[..27]), None);
    }
}
