//! What a request to change the cluster may contain. Everything here is INVALID_ARGUMENT and has
//! had no effect.

use tonic::Status;

use crate::config::Address;

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
