//! Where the state machine keeps what in its database.

/// Before every key of the application.
pub(crate) const APPLICATION: u8 = b'a';

/// The state's format version: one byte.
pub(crate) const FORMAT: &[u8] = b"!format";
/// Codec bytes of the last applied log id, if any.
pub(crate) const APPLIED: &[u8] = b"!applied";
/// Codec bytes of the last applied membership, with its log id.
pub(crate) const MEMBERSHIP: &[u8] = b"!membership";

/// The database key of an application's key.
pub(crate) fn of_application(key: &[u8]) -> Vec<u8> {
    [&[APPLICATION], key].concat()
}

/// Behind a key: the least key greater than it.
pub(crate) const AFTER: &[u8] = &[0];
