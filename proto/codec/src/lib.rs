//! The codec seam: how a Rust value becomes bytes on disk and between peers.
//!
//! Owns the choice of encoding (bincode 2, standard configuration: little endian, variable-length
//! integers). Called by `storage-leveldb` for log entries, votes and metadata, by `network-grpc`
//! for the parts of an RPC that are generic over the application, and by applications for their
//! records. Replacing the encoding means replacing this file.
//!
//! Decoding never trusts its input: it allocates at most [`MAX_DECODED_BYTES`] whatever lengths the
//! bytes claim, and bytes left over are an error.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes one decoded value may claim, and therefore the most that decoding may allocate.
///
/// Sixteen times the largest value a key-value client may store, so that one log entry always fits.
pub const MAX_DECODED_BYTES: usize = 16 * 1024 * 1024;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<MAX_DECODED_BYTES>,
> = bincode::config::standard().with_limit::<MAX_DECODED_BYTES>();

/// A value whose encoding is no longer than this can be decoded again, whatever its type: bincode
/// counts against [`MAX_DECODED_BYTES`] what a value takes in memory, and a byte may stand for a
/// number of sixteen.
pub const MAX_UNQUESTIONED_BYTES: usize = MAX_DECODED_BYTES / 16;
/// Room for this much is made at once; most values need no more.
const USUAL_BYTES: usize = 128;

/// A value could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The value's own `Serialize` implementation failed.
    #[error("cannot encode {type_name}")]
    Failed {
        /// Rust type of the value.
        type_name: &'static str,
        /// What bincode says.
        source: Box<bincode::error::EncodeError>,
    },
    /// It could never be decoded again.
    #[error("a {type_name} of {len} bytes; at most {MAX_DECODED_BYTES} can be decoded again")]
    TooLong {
        /// Rust type of the value.
        type_name: &'static str,
        /// Length of its encoding in bytes.
        len: usize,
    },
}

/// Bytes are not the encoding of the wanted type.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Truncated, malformed, or claiming more than [`MAX_DECODED_BYTES`].
    #[error("{len} bytes are not a valid {type_name}")]
    Malformed {
        /// Rust type that was expected.
        type_name: &'static str,
        /// Length of the input in bytes.
        len: usize,
        /// What bincode found.
        source: Box<bincode::error::DecodeError>,
    },
    /// A valid value followed by bytes that belong to nothing.
    #[error("{extra} bytes left over after a {type_name}")]
    TrailingBytes {
        /// Rust type that was decoded.
        type_name: &'static str,
        /// How many bytes followed it.
        extra: usize,
    },
}

/// Encodes `value`.
///
/// # Errors
/// If the value's own `Serialize` implementation fails, or its encoding is longer than
/// [`MAX_DECODED_BYTES`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    encode_onto(value, &mut bytes)?;
    Ok(bytes)
}

/// Encodes `value` behind what is in `bytes`. After an error a part of it may be there.
///
/// # Errors
/// As for [`encode`].
pub fn encode_onto<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    let type_name = std::any::type_name::<T>();
    let before = bytes.len();
    bincode::serde::encode_into_writer(value, Onto(bytes), CONFIG)
        .map_err(|source| EncodeError::Failed { type_name, source: Box::new(source) })?;
    match bytes.len().saturating_sub(before) {
        len if len > MAX_DECODED_BYTES => Err(EncodeError::TooLong { type_name, len }),
        _ => Ok(()),
    }
}

/// Writes to the end of a vector.
struct Onto<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Onto<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Decodes a `T` from all of `bytes`.
///
/// # Errors
/// [`DecodeError`] on anything but exactly one encoded `T`; never panics.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let type_name = std::any::type_name::<T>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, CONFIG)
        .map_err(|source| DecodeError::Malformed { type_name, len: bytes.len(), source: Box::new(source) })?;
    match bytes.len().saturating_sub(used) {
        0 => Ok(value),
        extra => Err(DecodeError::TrailingBytes { type_name, extra }),
    }
}

impl From<EncodeError> for std::io::Error {
    fn from(e: EncodeError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, e)
    }
}

impl From<DecodeError> for std::io::Error {
    fn from(e: DecodeError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, e)
    }
}

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let value = (7_u64, "seven".to_owned(), vec![Some(1_u8), None]);
        let bytes = encode(&value).unwrap();
        assert_eq!(decode::<(u64, String, Vec<Option<u8>>)>(&bytes).unwrap(), value);
    }

    #[test]
    fn values_are_encoded_behind_each_other() {
        let mut bytes = encode(&7_u64).unwrap();
        encode_onto(&"seven", &mut bytes).unwrap();
        assert_eq!(bytes, encode(&(7_u64, "seven")).unwrap());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = encode(&(7_u64, "seven".to_owned())).unwrap();
        for cut in 0..bytes.len() {
            assert!(decode::<(u64, String)>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let mut bytes = encode(&7_u64).unwrap();
        bytes.push(0);
        assert!(matches!(decode::<u64>(&bytes), Err(DecodeError::TrailingBytes { extra: 1, .. })));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        // 253 announces an eight-byte length: a vector of u64::MAX bytes follows, allegedly.
        let mut bytes = vec![253];
        bytes.extend([0xff; 8]);
        assert!(matches!(decode::<Vec<u64>>(&bytes), Err(DecodeError::Malformed { .. })));
    }
}
