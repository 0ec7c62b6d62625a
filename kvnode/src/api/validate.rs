//! What a request may contain. Everything here is INVALID_ARGUMENT and has had no effect.

use bytes::Bytes;
use proto::kv::v1 as kv;
use tonic::Status;

use crate::app::RequestId;
use crate::config::Address;

/// Longest key.
pub const MAX_KEY_BYTES: usize = 4096;
/// Longest value.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
const CLIENT_ID_BYTES: usize = 16;

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

/// The name of a write.
pub(crate) fn request_id(id: Option<kv::RequestId>) -> Result<Option<RequestId>, Status> {
    let Some(id) = id else { return Ok(None) };
    let client_id = <[u8; CLIENT_ID_BYTES]>::try_from(id.client_id.as_ref()).map_err(|_| {
        let len = id.client_id.len();
        Status::invalid_argument(format!("the client_id has {len} bytes; it must have {CLIENT_ID_BYTES}"))
    })?;
    if id.sequence == 0 {
        return Err(Status::invalid_argument("the sequence is 0; it must be 1 or more"));
    }
    Ok(Some(RequestId { client_id, sequence: id.sequence }))
}

/// A node's id.
pub(crate) fn node_id(id: u64) -> Result<u64, Status> {
    if id == 0 {
        return Err(Status::invalid_argument("0 is not a node id; ids start at 1"));
    }
    Ok(id)
}

/// An address others will dial.
pub(crate) fn address(what: &str, text: &str) -> Result<String, Status> {
    let address: Address =
        text.parse().map_err(|e| Status::invalid_argument(format!("the {what} address: {e}")))?;
    if address.is_undialable() {
        return Err(Status::invalid_argument(format!("the {what} address: nobody can dial {address}")));
    }
    Ok(address.to_string())
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

    #[test]
    fn a_request_id_is_sixteen_bytes_and_a_positive_number() {
        let id = |len: usize, sequence| {
            request_id(Some(kv::RequestId { client_id: vec![7; len].into(), sequence }))
        };
        assert_eq!(id(16, 1).unwrap().unwrap().sequence, 1);
        assert!(request_id(None).unwrap().is_none());
        for (len, sequence) in [(0, 1), (15, 1), (17, 1), (16, 0)] {
            assert_eq!(id(len, sequence).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }
}
