//! The service `Kv`.

use proto::kv::v1 as kv;
use proto::kv::v1::kv_server::{Kv, KvServer};
use raftnode::{AnswerStream, Call, ClientServices, DEFAULT_DEADLINE, MAX_MESSAGE_BYTES, Node};
use tonic::{Request, Response, Status, Streaming};

use super::scan::{ScanStream, scan};
use super::session::Session;
use super::shapes::{
    DELETE, Delete, GET, PUT, Put, SCAN, delete_response, get_response, header, put_response, read,
};
use super::validate;
use crate::app::{KvApplication, Query};

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
        self.0.answer(PUT, &call, self.put(&call, request)).await
    }

    async fn get(&self, request: Request<kv::GetRequest>) -> Result<Response<kv::GetResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        self.0.answer(GET, &call, self.get(&call, request)).await
    }

    async fn delete(
        &self,
        request: Request<kv::DeleteRequest>,
    ) -> Result<Response<kv::DeleteResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        self.0.answer(DELETE, &call, self.delete(&call, request)).await
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

    type SessionStream = AnswerStream<kv::SessionResponse>;

    async fn session(
        &self,
        request: Request<Streaming<kv::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.0.exchange(request, |answers| Session::new(self.0.clone(), answers))
    }
}

impl KvService {
    async fn put(&self, call: &Call, request: kv::PutRequest) -> Result<kv::PutResponse, Status> {
        let Put { key, id, command } = Put::try_from(request)?;
        let answered = self.0.write_for(call, id, command).await?;
        put_response(key, answered, |node, revision| header(&self.0, node, revision))
    }

    async fn delete(&self, call: &Call, request: kv::DeleteRequest) -> Result<kv::DeleteResponse, Status> {
        let Delete { key, id, command } = Delete::try_from(request)?;
        let answered = self.0.write_for(call, id, command).await?;
        delete_response(key, answered, |node, revision| header(&self.0, node, revision))
    }

    async fn get(&self, call: &Call, request: kv::GetRequest) -> Result<kv::GetResponse, Status> {
        validate::key(&request.key)?;
        let answered = read(&self.0, call, Query::Get { key: request.key }, request.stale).await?;
        Ok(get_response(answered, |node, revision| header(&self.0, node, revision)))
    }
}
