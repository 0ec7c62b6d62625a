//! Where the application keeps what in its part of the state database.
//!
//! `p` + user key holds a pair; `s` + generation (big endian) + client id holds a session. Neither
//! can collide with the other whatever bytes a user key has.

use bytes::Bytes;
use storage_leveldb::KeyRange;

const PAIRS: u8 = b'p';
const SESSIONS: u8 = b's';

/// What is kept at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The pair of a user's key.
    Pair,
    /// A session of this generation.
    Session(u64),
}

/// What is kept under this key; `None` if nothing of this application is.
pub(crate) fn place(key: &[u8]) -> Option<Place> {
    match key.split_first()? {
        (&PAIRS, user_key) => (!user_key.is_empty()).then_some(Place::Pair),
        (&SESSIONS, rest) => {
            let (generation, client_id) = rest.split_first_chunk()?;
            (client_id.len() == 16).then_some(Place::Session(u64::from_be_bytes(*generation)))
        }
        _ => None,
    }
}

/// Where the pair of a user's key is kept.
pub(crate) fn pair(user_key: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + user_key.len());
    key.push(PAIRS);
    key.extend_from_slice(user_key);
    key
}

/// The user's key of a pair's place; `None` if it is not a pair's place.
pub(crate) fn user_key(pair_key: &Bytes) -> Option<Bytes> {
    (pair_key.first() == Some(&PAIRS)).then(|| pair_key.slice(1..))
}

/// Every pair whose user key is at least `start` and begins with `prefix`.
pub(crate) fn pairs(start: &[u8], prefix: &[u8]) -> KeyRange {
    let within = KeyRange::prefix(&pair(prefix));
    let start = Bytes::from(pair(start)).max(within.start);
    KeyRange { start, end: within.end }
}

/// Where a client's session of one generation is kept.
pub(crate) fn session(generation: u64, client_id: &[u8; 16]) -> Vec<u8> {
    let mut key = sessions_of(generation);
    key.extend_from_slice(client_id);
    key
}

/// Every session of a generation before this one.
pub(crate) fn sessions_before(generation: u64) -> KeyRange {
    KeyRange { start: sessions_of(0).into(), end: Some(sessions_of(generation).into()) }
}

fn sessions_of(generation: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + size_of::<u64>() + 16);
    key.push(SESSIONS);
    key.extend(generation.to_be_bytes());
    key
}
