//! The service `Kv`.

use proto::kv::v1 as kv;
use proto::kv::v1::kv_server::{Kv, KvServer};
use raftnode::{AnswerStream, Call, ClientServices, DEFAULT_DEADLINE, MAX_MESSAGE_BYTES, Needs, Node, Right};
use tonic::{Request, Response, Status, Streaming};

use super::access::{Access, Permitted, Store, Write};
use super::scan::{ScanStream, scan};
use super::session::Session;
use super::shapes::{DELETE, GET, PUT, SCAN, delete_response, get_response, header, put_response};
use crate::app::{KvApplication, Query};

/// What each method needs. A session is of any principal, and each of its operations is looked at.
const NEEDS: [(&str, Needs); 5] = [
    ("/kv.v1.Kv/Put", Needs::Right(Right::Write)),
    ("/kv.v1.Kv/Delete", Needs::Right(Right::Write)),
    ("/kv.v1.Kv/Get", Needs::Right(Right::Read)),
    ("/kv.v1.Kv/Scan", Needs::Right(Right::Read)),
    ("/kv.v1.Kv/Session", Needs::Known),
];

/// The service over `node`.
pub(crate) fn services(node: Node<KvApplication>) -> ClientServices {
    let kv = KvServer::new(KvService(Store::new(node)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let mut services = ClientServices {
        descriptors: vec![kv::FILE_DESCRIPTOR_SET],
        needs: NEEDS.to_vec(),
        ..ClientServices::default()
    };
    services.routes.add_service(kv);
    services
}

struct KvService(Store);

#[tonic::async_trait]
impl Kv for KvService {
    type ScanStream = ScanStream;

    async fn put(&self, request: Request<kv::PutRequest>) -> Result<Response<kv::PutResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let work = async {
            let write = Access::of(&request)?.put(request.into_inner())?;
            self.put(&call, write).await
        };
        self.0.node().answer(PUT, &call, work).await
    }

    async fn get(&self, request: Request<kv::GetRequest>) -> Result<Response<kv::GetResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let work = async {
            let access = Access::of(&request)?;
            let kv::GetRequest { key, stale } = request.into_inner();
            self.get(&call, access.get(key)?, stale).await
        };
        self.0.node().answer(GET, &call, work).await
    }

    async fn delete(
        &self,
        request: Request<kv::DeleteRequest>,
    ) -> Result<Response<kv::DeleteResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let work = async {
            let write = Access::of(&request)?.delete(request.into_inner())?;
            self.delete(&call, write).await
        };
        self.0.node().answer(DELETE, &call, work).await
    }

    async fn scan(&self, request: Request<kv::ScanRequest>) -> Result<Response<ScanStream>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let work = async { scan(&self.0, Access::of(&request)?, call, request.into_inner()).await };
        self.0.node().answer(SCAN, &call, work).await
    }

    type SessionStream = AnswerStream<kv::SessionResponse>;

    async fn session(
        &self,
        request: Request<Streaming<kv::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let access = Access::of(&request)?;
        self.0.node().exchange(request, |answers| Session::new(self.0.clone(), access, answers))
    }
}

impl KvService {
    async fn put(&self, call: &Call, write: Write) -> Result<kv::PutResponse, Status> {
        let Write { key, id, command } = write;
        let answered = self.0.write(call, id, command).await?;
        put_response(key, answered, |node, revision| header(self.0.node(), node, revision))
    }

    async fn delete(&self, call: &Call, write: Write) -> Result<kv::DeleteResponse, Status> {
        let Write { key, id, command } = write;
        let answered = self.0.write(call, id, command).await?;
        delete_response(key, answered, |node, revision| header(self.0.node(), node, revision))
    }

    async fn get(
        &self,
        call: &Call,
        query: Permitted<Query>,
        stale: bool,
    ) -> Result<kv::GetResponse, Status> {
        let answered = self.0.read(call, query, stale).await?;
        Ok(get_response(answered, |node, revision| header(self.0.node(), node, revision)))
    }
}
