//! The service `Kv`.

use bytes::Bytes;
use proto::kv::v1 as kv;
use proto::kv::v1::kv_server::{Kv, KvServer};
use raftnode::{
    Answered, Call, ClientServices, DEFAULT_DEADLINE, MAX_MESSAGE_BYTES, Node, Op, OpKind, RequestId,
};
use tonic::{Request, Response, Status};

use super::scan::{ScanStream, scan};
use super::validate;
use crate::app::{self, Answer, Command, KvApplication, PairRecord, Query};

/// The operations, as the metrics name them.
pub const PUT: Op = Op::new("put", OpKind::Write);
/// See [`PUT`].
pub const DELETE: Op = Op::new("delete", OpKind::Write);
/// See [`PUT`].
pub const GET: Op = Op::new("get", OpKind::Read);
/// See [`PUT`].
pub const SCAN: Op = Op::new("scan", OpKind::Read);

/// The service over `node`.
pub(crate) fn services(node: Node<KvApplication>) -> ClientServices {
    let kv = KvServer::new(KvService(node))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let mut services =
        ClientServices { descriptors: vec![kv::FILE_DESCRIPTOR_SET], ..ClientServices::default() };
    services.routes.add_service(kv);
    services
}

struct KvService(Node<KvApplication>);

#[tonic::async_trait]
impl Kv for KvService {
    type ScanStream = ScanStream;

    async fn put(&self, request: Request<kv::PutRequest>) -> Result<Response<kv::PutResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            validate::key(&request.key)?;
            validate::value(&request.value)?;
            self.put(&call, request).await
        };
        self.0.answer(PUT, &call, work).await
    }

    async fn get(&self, request: Request<kv::GetRequest>) -> Result<Response<kv::GetResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            validate::key(&request.key)?;
            self.get(&call, request).await
        };
        self.0.answer(GET, &call, work).await
    }

    async fn delete(
        &self,
        request: Request<kv::DeleteRequest>,
    ) -> Result<Response<kv::DeleteResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            validate::key(&request.key)?;
            self.delete(&call, request).await
        };
        self.0.answer(DELETE, &call, work).await
    }

    async fn scan(&self, request: Request<kv::ScanRequest>) -> Result<Response<ScanStream>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            validate::prefix(&request.prefix)?;
            scan(&self.0, call, request).await
        };
        self.0.answer(SCAN, &call, work).await
    }
}

impl KvService {
    async fn put(&self, call: &Call, request: kv::PutRequest) -> Result<kv::PutResponse, Status> {
        let kv::PutRequest { key, value, request_id, return_previous } = request;
        let command = Command::Put { key: key.clone(), value, return_previous };
        let Answered { value, node } = self.0.write_for(call, name(request_id)?, command).await?;
        match value {
            app::Response::Put { revision, previous } => Ok(kv::PutResponse {
                header: header(&self.0, node, revision),
                previous: previous.map(|record| pair(key, record)),
            }),
            app::Response::Delete { .. } => Err(used_before()),
        }
    }

    async fn delete(&self, call: &Call, request: kv::DeleteRequest) -> Result<kv::DeleteResponse, Status> {
        let kv::DeleteRequest { key, request_id, return_previous } = request;
        let command = Command::Delete { key: key.clone(), return_previous };
        let Answered { value, node } = self.0.write_for(call, name(request_id)?, command).await?;
        match value {
            app::Response::Delete { revision, deleted, previous } => Ok(kv::DeleteResponse {
                header: header(&self.0, node, revision),
                deleted: u64::from(deleted),
                previous: previous.map(|record| pair(key, record)),
            }),
            app::Response::Put { .. } => Err(used_before()),
        }
    }

    async fn get(&self, call: &Call, request: kv::GetRequest) -> Result<kv::GetResponse, Status> {
        let answered = read(&self.0, call, Query::Get { key: request.key }, request.stale).await?;
        let Answered { value: Answer { found, revision }, node } = answered;
        Ok(kv::GetResponse {
            header: header(&self.0, node, revision),
            pair: found.into_iter().next().map(|found| pair(found.key, found.record)),
        })
    }
}

/// Linearizable, unless it may be stale.
pub(super) async fn read(
    node: &Node<KvApplication>,
    call: &Call,
    query: Query,
    stale: bool,
) -> Result<Answered<Answer>, Status> {
    if stale { node.read_stale_for(query).await } else { node.read_for(call, query).await }
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
pub(crate) fn name(id: Option<kv::RequestId>) -> Result<Option<RequestId>, Status> {
    id.map(|id| RequestId::from_wire(&id.client_id, id.sequence)).transpose()
}

/// The answer to another operation was remembered under this name.
fn used_before() -> Status {
    Status::failed_precondition(
        "this client_id and sequence were used for another operation before; not applied",
    )
}
