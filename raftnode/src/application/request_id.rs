//! The name of a write.

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
