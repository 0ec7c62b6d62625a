//! What a fake says of keys and values, by calls and over a session.

use std::time::Duration;

use kvcli::wire::kv_server::Kv;
use kvcli::wire::operation::Request as Asked;
use kvcli::wire::operation_response::Response as Answered;
use kvcli::wire::{
    DeleteRequest, DeleteResponse, GetRequest, GetResponse, OperationFailure, OperationResponse, Pair,
    PutRequest, PutResponse, ResponseHeader, ScanRequest, ScanResponse, SessionRequest, SessionResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Fake, State, named_cluster};

#[tonic::async_trait]
impl Kv for Fake {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let put = request.get_ref().clone();
        if self.with(|state| state.refuse_writes) {
            return Err(self.failure(Code::ResourceExhausted, None));
        }
        let apply = |state: &mut State| {
            state.pairs.insert(put.key.to_vec(), put.value.to_vec());
        };
        self.receive("put", &request, put.request_id.clone(), apply).await?;
        Ok(Response::new(PutResponse { header: self.header(), previous: None }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        self.receive("get", &request, None, |_| {}).await?;
        let key = &request.get_ref().key;
        let pair = self.with(|s| s.pairs.get(key.as_ref()).map(|value| pair(key, value)));
        Ok(Response::new(GetResponse { header: self.header(), pair }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let delete = request.get_ref().clone();
        let mut deleted = 0;
        let apply = |state: &mut State| {
            deleted = u64::from(state.pairs.remove(delete.key.as_ref()).is_some());
        };
        self.receive("delete", &request, delete.request_id.clone(), apply).await?;
        Ok(Response::new(DeleteResponse { header: self.header(), deleted, previous: None }))
    }

    type ScanStream = tokio_stream::Iter<std::vec::IntoIter<Result<ScanResponse, Status>>>;

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        self.receive("scan", &request, None, |_| {}).await?;
        let scan = request.into_inner();
        let (pairs, page): (Vec<_>, _) = self.with(|state| {
            let pairs = state.pairs.iter().filter(|(key, _)| key.starts_with(&scan.prefix));
            let value = |value: &Vec<u8>| if scan.keys_only { vec![] } else { value.clone() };
            let limit = if scan.limit == 0 { usize::MAX } else { scan.limit as usize };
            (pairs.take(limit).map(|(k, v)| pair(k, &value(v))).collect(), state.pairs_per_page)
        });
        let pages: Vec<_> = pairs
            .chunks(page)
            .map(|pairs| Ok(ScanResponse { header: self.header(), pairs: pairs.to_vec() }))
            .collect();
        Ok(Response::new(tokio_stream::iter(pages)))
    }

    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.admit(&named_cluster(&request)).await?;
        let (metadata, extensions, mut messages) = request.into_parts();
        let (out, answers) = mpsc::channel(8);
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                for operation in message.operations {
                    let (fake, out) = (fake.clone(), out.clone());
                    let mut around = Request::from_parts(metadata.clone(), extensions.clone(), ());
                    if operation.timeout_ms > 0 {
                        around.set_timeout(Duration::from_millis(operation.timeout_ms.into()));
                    }
                    tokio::spawn(async move {
                        let response = fake.operate(around, operation.request.unwrap()).await;
                        let header = Some(ResponseHeader { node_id: 1, ..fake.header().unwrap() });
                        let responses =
                            vec![OperationResponse { id: operation.id, response: Some(response) }];
                        let message = SessionResponse { header, responses, going_away: false };
                        drop(out.send(Ok(message)).await);
                    });
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

impl Fake {
    fn header(&self) -> Option<ResponseHeader> {
        let (leader_addr, cluster_id) = self.with(|state| (state.leader.clone(), state.cluster.clone()));
        Some(ResponseHeader { cluster_id, node_id: 1, leader_id: 1, leader_addr, term: 3, revision: 17 })
    }

    /// One operation of a session, as a call of its own would be answered.
    async fn operate(&self, around: Request<()>, asked: Asked) -> Answered {
        let (metadata, extensions, ()) = around.into_parts();
        let answered = match asked {
            Asked::Put(put) => self
                .put(Request::from_parts(metadata, extensions, put))
                .await
                .map(|a| Answered::Put(a.into_inner())),
            Asked::Get(get) => self
                .get(Request::from_parts(metadata, extensions, get))
                .await
                .map(|a| Answered::Get(a.into_inner())),
            Asked::Delete(delete) => self
                .delete(Request::from_parts(metadata, extensions, delete))
                .await
                .map(|a| Answered::Delete(a.into_inner())),
            Asked::Scan(_) | Asked::CancelScan(_) => Err(Status::unimplemented("kvcli scans by a call")),
        };
        answered.unwrap_or_else(|status| {
            let said = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
            if let Some(leader) = said("node-leader-addr") {
                self.with(|state| state.leader = leader.to_owned());
            }
            Answered::Failure(OperationFailure {
                code: status.code() as u32,
                message: status.message().to_owned(),
                not_applied: said("node-not-applied").is_some(),
                node_fault: String::new(),
            })
        })
    }
}

fn pair(key: &[u8], value: &[u8]) -> Pair {
    Pair {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
        create_revision: 5,
        mod_revision: 17,
        version: 2,
    }
}
