//! Where the state machine keeps what in its database.

/// Before every key of the application.
pub(super) const APPLICATION: u8 = b'a';

/// The state's format version: one byte.
pub(super) const FORMAT: &[u8] = b"!format";
/// Codec bytes of the last applied log id, if any.
pub(super) const APPLIED: &[u8] = b"!applied";
/// Codec bytes of the last applied membership, with its log id.
pub(super) const MEMBERSHIP: &[u8] = b"!membership";

/// The database key of an application's key.
pub(super) fn of_application(key: &[u8]) -> Vec<u8> {
    [&[APPLICATION], key].concat()
}

/// Behind a key: the least key greater than it.
pub(super) const AFTER: &[u8] = &[0];
