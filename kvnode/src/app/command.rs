//! What a log entry asks the application to do.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Names one write of one client, so that it is applied once however often it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestId {
    /// Chosen at random by the client.
    pub client_id: [u8; 16],
    /// Raised by the client for each new write; 1 or more.
    pub sequence: u64,
}

impl RequestId {
    /// The client's id in hexadecimal digits, for logs.
    #[must_use]
    pub fn client_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.client_id))
    }
}

/// One write. Keys and values have passed the API's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Stores `value` under `key`.
    Put {
        /// 1 to 4096 bytes.
        key: Bytes,
        /// At most 1 MiB.
        value: Bytes,
        /// Makes the write idempotent.
        request_id: Option<RequestId>,
        /// Whether the answer carries the pair that was replaced.
        return_previous: bool,
    },
    /// Removes `key`.
    Delete {
        /// 1 to 4096 bytes.
        key: Bytes,
        /// Makes the write idempotent.
        request_id: Option<RequestId>,
        /// Whether the answer carries the pair that was removed.
        return_previous: bool,
    },
}

impl Command {
    /// The write's name, if its client gave it one.
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::Put { request_id, .. } | Self::Delete { request_id, .. } => *request_id,
        }
    }
}

/// Sizes only: user data does not belong in logs.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, .. } => {
                write!(f, "put(key: {} bytes, value: {} bytes)", key.len(), value.len())
            }
            Self::Delete { key, .. } => write!(f, "delete(key: {} bytes)", key.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: Vec<u8>) -> Command {
        Command::Put {
            key: Bytes::from_static(b"k"),
            value: value.into(),
            request_id: Some(RequestId { client_id: [7; 16], sequence: 1 }),
            return_previous: true,
        }
    }

    #[test]
    fn survives_the_codec() {
        let command = put(vec![0, 255, 1]);
        let bytes = codec::encode(&command).unwrap();
        assert_eq!(codec::decode::<Command>(&bytes).unwrap(), command);
    }

    #[test]
    fn a_value_costs_its_length_and_little_more() {
        let bytes = codec::encode(&put(vec![255; 100_000])).unwrap();
        assert!(bytes.len() < 100_064, "{} bytes", bytes.len());
    }
}
