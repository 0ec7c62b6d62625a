//! Under which keys the state is stored.

/// Before every key of the application.
pub(crate) const APPLICATION: u8 = b'a';

/// The stored key of an application's key.
pub(crate) fn of_application(key: &[u8]) -> Vec<u8> {
    [&[APPLICATION], key].concat()
}

/// Behind a key: the least key greater than it.
pub(crate) const AFTER: &[u8] = &[0];
