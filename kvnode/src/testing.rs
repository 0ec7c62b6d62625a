//! What the client API lets through, without a server, for the fuzz targets in `tests/fuzz/`.

use proto::kv::v1 as kv;
use tonic::Status;

use crate::api::{name, validate};
use crate::app::Command;

/// The command that a put becomes.
///
/// # Errors
/// The refusal.
pub fn admit_put(request: kv::PutRequest) -> Result<Command, Status> {
    validate::key(&request.key)?;
    validate::value(&request.value)?;
    name(request.request_id)?;
    let kv::PutRequest { key, value, return_previous, .. } = request;
    Ok(Command::Put { key, value, return_previous })
}

/// The command that a delete becomes.
///
/// # Errors
/// The refusal.
pub fn admit_delete(request: kv::DeleteRequest) -> Result<Command, Status> {
    validate::key(&request.key)?;
    name(request.request_id)?;
    Ok(Command::Delete { key: request.key, return_previous: request.return_previous })
}

/// Whether a scan may run.
///
/// # Errors
/// The refusal.
pub fn admit_scan(request: &kv::ScanRequest) -> Result<(), Status> {
    validate::prefix(&request.prefix)
}
