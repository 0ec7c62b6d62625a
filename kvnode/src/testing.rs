//! What the client API lets through, without a server, for the fuzz targets in `fuzz/`.

use proto::kv::v1 as kv;
use tonic::Status;

use crate::api::validate;
use crate::app::Command;
use crate::raft::{Member, NodeId};

/// The command that a put becomes.
///
/// # Errors
/// The refusal.
pub fn admit_put(request: kv::PutRequest) -> Result<Command, Status> {
    validate::key(&request.key)?;
    validate::value(&request.value)?;
    let request_id = validate::request_id(request.request_id)?;
    let kv::PutRequest { key, value, return_previous, .. } = request;
    Ok(Command::Put { key, value, request_id, return_previous })
}

/// The command that a delete becomes.
///
/// # Errors
/// The refusal.
pub fn admit_delete(request: kv::DeleteRequest) -> Result<Command, Status> {
    validate::key(&request.key)?;
    let request_id = validate::request_id(request.request_id)?;
    Ok(Command::Delete { key: request.key, request_id, return_previous: request.return_previous })
}

/// Whether a scan may run.
///
/// # Errors
/// The refusal.
pub fn admit_scan(request: &kv::ScanRequest) -> Result<(), Status> {
    validate::prefix(&request.prefix)
}

/// The member that an added learner becomes.
///
/// # Errors
/// The refusal.
pub fn admit_learner(request: &kv::AddLearnerRequest) -> Result<(NodeId, Member), Status> {
    let id = validate::node_id(request.id)?;
    let raft_addr = validate::address("raft", &request.raft_addr)?;
    let client_addr = validate::address("client", &request.client_addr)?;
    Ok((id, Member::at(raft_addr, client_addr)))
}
