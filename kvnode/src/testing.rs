//! What the client API lets through, without a server, for the fuzz targets in `tests/fuzz/`.

use proto::kv::v1 as kv;
use tonic::Status;

use crate::api::{Delete, Put, validate};
use crate::app::Command;

/// The command that a put becomes.
///
/// # Errors
/// The refusal.
pub fn admit_put(request: kv::PutRequest) -> Result<Command, Status> {
    Ok(Put::try_from(request)?.command)
}

/// The command that a delete becomes.
///
/// # Errors
/// The refusal.
pub fn admit_delete(request: kv::DeleteRequest) -> Result<Command, Status> {
    Ok(Delete::try_from(request)?.command)
}

/// Whether a scan may run.
///
/// # Errors
/// The refusal.
pub fn admit_scan(request: &kv::ScanRequest) -> Result<(), Status> {
    validate::prefix(&request.prefix)
}
