//! The service `Kv`.

use std::sync::Arc;

use proto::kv::v1 as kv;
use proto::kv::v1::kv_server::Kv;
use tonic::{Request, Response, Status};

use super::call::{Call, DEFAULT_DEADLINE};
use super::scan::ScanStream;
use super::server::Api;
use super::validate;
use crate::metrics::Op;

pub(crate) struct KvService(pub(crate) Arc<Api>);

#[tonic::async_trait]
impl Kv for KvService {
    type ScanStream = ScanStream;

    async fn put(&self, request: Request<kv::PutRequest>) -> Result<Response<kv::PutResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            validate::key(&request.key)?;
            validate::value(&request.value)?;
            self.0.put(&call, request).await
        };
        self.0.answer(Op::Put, &call, work).await
    }

    async fn get(&self, request: Request<kv::GetRequest>) -> Result<Response<kv::GetResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            validate::key(&request.key)?;
            self.0.get(&call, request).await
        };
        self.0.answer(Op::Get, &call, work).await
    }

    async fn delete(
        &self,
        request: Request<kv::DeleteRequest>,
    ) -> Result<Response<kv::DeleteResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            validate::key(&request.key)?;
            self.0.delete(&call, request).await
        };
        self.0.answer(Op::Delete, &call, work).await
    }

    async fn scan(&self, request: Request<kv::ScanRequest>) -> Result<Response<ScanStream>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            validate::prefix(&request.prefix)?;
            Api::scan(&self.0, &call, request).await
        };
        self.0.answer(Op::Scan, &call, work).await
    }
}
