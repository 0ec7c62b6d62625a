//! What a request may contain. Everything here is INVALID_ARGUMENT and has had no effect.

use bytes::Bytes;
use tonic::Status;

/// Longest key.
pub const MAX_KEY_BYTES: usize = 4096;
/// Longest value.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// A key of one pair.
pub(crate) fn key(key: &[u8]) -> Result<(), Status> {
    match key.len() {
        0 => Err(Status::invalid_argument(format!("the key is empty; a key has 1 to {MAX_KEY_BYTES} bytes"))),
        1..=MAX_KEY_BYTES => Ok(()),
        len => Err(Status::invalid_argument(format!(
            "the key has {len} bytes; a key has 1 to {MAX_KEY_BYTES} bytes"
        ))),
    }
}

/// A prefix of keys; empty stands for all.
pub(crate) fn prefix(prefix: &[u8]) -> Result<(), Status> {
    match prefix.len() {
        0..=MAX_KEY_BYTES => Ok(()),
        len => Err(Status::invalid_argument(format!(
            "the prefix has {len} bytes; at most {MAX_KEY_BYTES} are allowed"
        ))),
    }
}

/// A value.
pub(crate) fn value(value: &Bytes) -> Result<(), Status> {
    match value.len() {
        0..=MAX_VALUE_BYTES => Ok(()),
        len => Err(Status::invalid_argument(format!(
            "the value has {len} bytes; a value has at most {MAX_VALUE_BYTES} bytes"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inclusive_and_named() {
        key(&[1; MAX_KEY_BYTES]).unwrap();
        value(&vec![1; MAX_VALUE_BYTES].into()).unwrap();
        for error in [
            key(b"").unwrap_err(),
            key(&[1; MAX_KEY_BYTES + 1]).unwrap_err(),
            prefix(&[1; MAX_KEY_BYTES + 1]).unwrap_err(),
        ] {
            assert!(error.message().contains("4096"), "{error}");
        }
        assert!(value(&vec![1; MAX_VALUE_BYTES + 1].into()).unwrap_err().message().contains("1048576"));
    }
}
