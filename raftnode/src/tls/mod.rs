//! TLS 1.3 on the three ports and between nodes.
//!
//! [`TlsOptions`](crate::config::TlsOptions) names files; `files` reads them, `Current`
//! makes configurations of what they hold, and `Tls` keeps the newest of these: each handshake
//! takes what is current, so that a file that has changed is used without a restart, and an open
//! connection stays as it is. `Dialler` reaches other nodes.
//!
//! Nodes know each other by a name in their certificates (`NodeName`), not by host names: the
//! address of a node may change, and another process may take it.

mod certificate;
mod current;
mod dialler;
mod error;
mod files;
mod handshake;
mod node_name;
mod shared;
#[cfg(test)]
mod tests;
mod verifier;

use crate::config::{TlsOptionsError, stands_in_a_uri};
use crate::raft::NodeId;
use current::Current;
use error::reason;
use node_name::NodeName;

pub(crate) use certificate::MAX_NAME_BYTES;
pub use error::TlsError;

/// The name that the certificate of node `id` of a cluster must have: a URI among the subject's
/// alternative names.
///
/// # Errors
/// The cluster's name cannot stand in a URI.
pub fn node_name(cluster_name: &str, id: NodeId) -> Result<String, TlsOptionsError> {
    let name = NodeName { cluster: cluster_name.to_owned(), id };
    match stands_in_a_uri(cluster_name) {
        true => Ok(name.to_string()),
        false => Err(TlsOptionsError::ClusterName(name.cluster)),
    }
}

pub(crate) use dialler::Dialler;
pub(crate) use handshake::{FIRST_BYTE_OF_TLS, HANDSHAKE_TIMEOUT, PortTls, Proven};
pub(crate) use shared::{Port, Tls};
