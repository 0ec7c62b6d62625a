//! What a client asks to be done.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One write. Keys and values have passed the API's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Stores `value` under `key`.
    Put {
        /// 1 to 4096 bytes.
        key: Bytes,
        /// At most 1 MiB.
        value: Bytes,
        /// Whether the answer carries the pair that was replaced.
        return_previous: bool,
    },
    /// Removes `key`.
    Delete {
        /// 1 to 4096 bytes.
        key: Bytes,
        /// Whether the answer carries the pair that was removed.
        return_previous: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: Vec<u8>) -> Command {
        Command::Put { key: Bytes::from_static(b"k"), value: value.into(), return_previous: true }
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
