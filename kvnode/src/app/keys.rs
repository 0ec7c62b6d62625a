//! Where the application keeps what.
//!
//! `p` + user key holds a pair; `r` holds the revision. Neither can be the other whatever bytes a
//! user key has.

use bytes::Bytes;
use raftnode::KeyRange;

const PAIRS: u8 = b'p';
/// How many writes have changed something.
pub(crate) const REVISION: [u8; 1] = [b'r'];

/// The user's key of a pair, if a pair is kept under this key.
pub(crate) fn user_key_of(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&[PAIRS]).filter(|user_key| !user_key.is_empty())
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
