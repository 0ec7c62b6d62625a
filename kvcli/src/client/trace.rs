//! The id under which every node logs a request: the `traceparent` of W3C Trace Context.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// The header's name.
const TRACEPARENT: &str = "traceparent";

/// Names one operation in the logs of all nodes, retries and forwarding included: 32 digits. Never
/// all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// One that no other operation has.
    #[must_use]
    pub fn random() -> Self {
        // Zero stands for no id; it comes once in 2^128.
        Self(rand::random::<u128>().max(1))
    }

    /// Tells the node, with a number for this attempt.
    pub(super) fn send(self, metadata: &mut MetadataMap) {
        if let Some(header) = self.header(rand::random::<u64>().max(1)) {
            metadata.insert(TRACEPARENT, header);
        }
    }

    /// The same as an operation of a session has it.
    pub(super) fn bytes(self) -> Bytes {
        let attempt = rand::random::<u64>().max(1);
        Bytes::from([&self.0.to_be_bytes()[..], &attempt.to_be_bytes()].concat())
    }

    /// Digits and dashes are always a valid value. The last field asks nodes that export traces to
    /// export this one.
    fn header(self, attempt: u64) -> Option<MetadataValue<Ascii>> {
        let mut text = String::with_capacity(55);
        write!(text, "00-{self}-{attempt:016x}-01").ok()?;
        text.parse().ok()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_shape_of_the_standard() {
        let header = TraceId(0xab).header(7).unwrap();
        assert_eq!(header.to_str().unwrap(), format!("00-{:032x}-{:016x}-01", 0xab, 7));
        assert_ne!(TraceId::random(), TraceId::random());
    }
}
