//! Requests as commands and queries of the application, and what it answers in the protocol's
//! shape: the same for a call of its own and in a session.

use bytes::Bytes;
use proto::kv::v1 as kv;
use raftnode::{Answered, Node, Op, OpKind, RequestId};
use tonic::Status;

use super::validate;
use crate::app::{self, Answer, Command, KvApplication, PairRecord};

/// The operations, as the metrics name them.
pub const PUT: Op = Op::new("put", OpKind::Write);
/// See [`PUT`].
pub const DELETE: Op = Op::new("delete", OpKind::Write);
/// See [`PUT`].
pub const GET: Op = Op::new("get", OpKind::Read);
/// See [`PUT`].
pub const SCAN: Op = Op::new("scan", OpKind::Read);

/// A put to apply.
pub(crate) struct Put {
    pub(super) key: Bytes,
    pub(super) id: Option<RequestId>,
    pub(crate) command: Command,
}

/// A delete to apply.
pub(crate) struct Delete {
    pub(super) key: Bytes,
    pub(super) id: Option<RequestId>,
    pub(crate) command: Command,
}

impl TryFrom<kv::PutRequest> for Put {
    type Error = Status;

    fn try_from(request: kv::PutRequest) -> Result<Self, Status> {
        let kv::PutRequest { key, value, request_id, return_previous } = request;
        validate::key(&key)?;
        validate::value(&value)?;
        let id = name(request_id)?;
        Ok(Self { key: key.clone(), id, command: Command::Put { key, value, return_previous } })
    }
}

impl TryFrom<kv::DeleteRequest> for Delete {
    type Error = Status;

    fn try_from(request: kv::DeleteRequest) -> Result<Self, Status> {
        let kv::DeleteRequest { key, request_id, return_previous } = request;
        validate::key(&key)?;
        let id = name(request_id)?;
        Ok(Self { key: key.clone(), id, command: Command::Delete { key, return_previous } })
    }
}

/// Makes the header of an answer of which the node that gave it and the revision are known.
pub(super) trait Header: Fn(u64, u64) -> Option<kv::ResponseHeader> {}

impl<F: Fn(u64, u64) -> Option<kv::ResponseHeader>> Header for F {}

pub(super) fn put_response(
    key: Bytes,
    answered: Answered<app::Response>,
    header: impl Header,
) -> Result<kv::PutResponse, Status> {
    let Answered { value, node } = answered;
    match value {
        app::Response::Put { revision, previous } => Ok(kv::PutResponse {
            header: header(node, revision),
            previous: previous.map(|record| pair(key, record)),
        }),
        app::Response::Delete { .. } => Err(used_before()),
    }
}

pub(super) fn delete_response(
    key: Bytes,
    answered: Answered<app::Response>,
    header: impl Header,
) -> Result<kv::DeleteResponse, Status> {
    let Answered { value, node } = answered;
    match value {
        app::Response::Delete { revision, deleted, previous } => Ok(kv::DeleteResponse {
            header: header(node, revision),
            deleted: u64::from(deleted),
            previous: previous.map(|record| pair(key, record)),
        }),
        app::Response::Put { .. } => Err(used_before()),
    }
}

pub(super) fn get_response(answered: Answered<Answer>, header: impl Header) -> kv::GetResponse {
    let Answered { value: Answer { found, revision }, node } = answered;
    kv::GetResponse {
        header: header(node, revision),
        pair: found.into_iter().next().map(|found| pair(found.key, found.record)),
    }
}

/// The header of an answer that node `by` made, and that reflects `revision`.
pub(super) fn header(node: &Node<KvApplication>, by: u64, revision: u64) -> Option<kv::ResponseHeader> {
    let header = node.header();
    Some(kv::ResponseHeader {
        cluster_id: header.cluster_id,
        node_id: by,
        leader_id: header.leader_id,
        leader_addr: header.leader_addr,
        term: header.term,
        revision,
    })
}

/// A pair in the protocol's shape.
pub(super) fn pair(key: Bytes, record: PairRecord) -> kv::Pair {
    kv::Pair {
        key,
        value: record.value,
        create_revision: record.create_revision,
        mod_revision: record.mod_revision,
        version: record.version,
    }
}

/// The name of a write, if it has one.
fn name(id: Option<kv::RequestId>) -> Result<Option<RequestId>, Status> {
    id.map(|id| RequestId::from_wire(&id.client_id, id.sequence)).transpose()
}

/// The answer to another operation was remembered under this name.
fn used_before() -> Status {
    Status::failed_precondition(
        "this client_id and sequence were used for another operation before; not applied",
    )
}
