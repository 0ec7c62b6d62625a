//! A node that does what a test tells it to, in this process, behind a connection that can be cut.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use kvcli::wire::cluster_server::{Cluster, ClusterServer};
use kvcli::wire::kv_server::{Kv, KvServer};
use kvcli::wire::{
    AddLearnerRequest, AddLearnerResponse, ChangeMembershipRequest, ChangeMembershipResponse, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, HealthRequest, HealthResponse, InitRequest, InitResponse, Pair,
    PutRequest, PutResponse, ReportRequest, ReportResponse, RequestId, ResponseHeader, ScanRequest,
    ScanResponse, SetAddressRequest, SetAddressResponse, SnapshotRequest, SnapshotResponse, StatusRequest,
    StatusResponse, TransferLeaderRequest, TransferLeaderResponse,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

/// What happens to the next request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// It fails with this code, and names this leader.
    Fail(Code, Option<String>),
    /// It is applied, and every connection is cut instead of an answer.
    ApplyAndCut,
    /// It is never answered.
    Hang,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) operation: &'static str,
    pub(crate) request_id: Option<RequestId>,
    pub(crate) has_deadline: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// For the next requests, in this order; after them `always`, after that an answer.
    pub(crate) steps: VecDeque<Step>,
    pub(crate) always: Option<Step>,
    pub(crate) seen: Vec<Seen>,
    /// Named in every header.
    pub(crate) leader: String,
    pub(crate) status: StatusResponse,
    /// Every put is answered with RESOURCE_EXHAUSTED.
    pub(crate) refuse_writes: bool,
    pub(crate) pairs_per_page: usize,
    connections: Vec<AbortHandle>,
}

/// A running fake; stops when the test's runtime does.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner_address = inner.local_addr().unwrap();
        let address = outer.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { pairs_per_page: 100, ..State::default() }));
        let fake = Self { address, state };
        let server = tonic::transport::Server::builder()
            .add_service(KvServer::new(fake.clone()))
            .add_service(ClusterServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(inner).with_nodelay(Some(true))));
        tokio::spawn(fake.clone().forward(outer, inner_address));
        fake
    }

    /// Connections pass through here, so that they can be cut under the server's feet.
    async fn forward(self, outer: TcpListener, inner: std::net::SocketAddr) {
        while let Ok((mut client, _)) = outer.accept().await {
            let mut server = TcpStream::connect(inner).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let copying = tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
            self.with(|state| state.connections.push(copying.abort_handle()));
        }
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap())
    }

    pub(crate) fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.with(|state| state.steps.extend(steps));
    }

    pub(crate) fn always(&self, step: Step) {
        self.with(|state| state.always = Some(step));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.with(|state| state.seen.clone())
    }

    /// Connections accepted and not cut.
    pub(crate) fn connections(&self) -> usize {
        self.with(|state| state.connections.len())
    }

    /// Notes the request; says whether to answer it after `apply`.
    async fn receive<T>(
        &self,
        operation: &'static str,
        request: &Request<T>,
        request_id: Option<RequestId>,
        apply: impl FnOnce(&mut State),
    ) -> Result<(), Status> {
        let has_deadline = request.metadata().contains_key("grpc-timeout");
        let step = self.with(|state| {
            state.seen.push(Seen { operation, request_id, has_deadline });
            let step = state.steps.pop_front().or_else(|| state.always.clone());
            if !matches!(step, Some(Step::Fail(..) | Step::Hang)) {
                apply(state);
            }
            step
        });
        match step {
            None => Ok(()),
            Some(Step::Fail(code, leader)) => Err(failure(code, leader)),
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::ApplyAndCut) => {
                self.with(|state| state.connections.drain(..).for_each(|c| c.abort()));
                std::future::pending().await
            }
        }
    }

    fn header(&self) -> Option<ResponseHeader> {
        let leader_addr = self.with(|state| state.leader.clone());
        Some(ResponseHeader {
            cluster_id: "kv".into(),
            node_id: 1,
            leader_id: 1,
            leader_addr,
            term: 3,
            revision: 17,
        })
    }
}

fn failure(code: Code, leader: Option<String>) -> Status {
    let mut status = Status::new(code, format!("scripted {code:?}"));
    if let Some(leader) = leader {
        status.metadata_mut().insert("kv-leader-addr", leader.parse().unwrap());
    }
    status
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

/// A port that refuses connections.
pub(crate) fn closed_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tonic::async_trait]
impl Kv for Fake {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let put = request.get_ref().clone();
        if self.with(|state| state.refuse_writes) {
            return Err(failure(Code::ResourceExhausted, None));
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
}

#[tonic::async_trait]
impl Cluster for Fake {
    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        self.receive("init", &request, None, |_| {}).await?;
        let members = self.with(|state| state.status.members.clone());
        let header = self.header();
        Ok(Response::new(InitResponse { header, already_initialized: false, members }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.receive("status", &request, None, |_| {}).await?;
        let header = self.header();
        let status = self.with(|state| state.status.clone());
        Ok(Response::new(StatusResponse { header, ..status }))
    }

    async fn add_learner(
        &self,
        request: Request<AddLearnerRequest>,
    ) -> Result<Response<AddLearnerResponse>, Status> {
        self.receive("add_learner", &request, None, |_| {}).await?;
        let members = self.with(|state| state.status.members.clone());
        Ok(Response::new(AddLearnerResponse { header: self.header(), members }))
    }

    async fn change_membership(
        &self,
        request: Request<ChangeMembershipRequest>,
    ) -> Result<Response<ChangeMembershipResponse>, Status> {
        self.receive("change_membership", &request, None, |_| {}).await?;
        let members = self.with(|state| state.status.members.clone());
        Ok(Response::new(ChangeMembershipResponse { header: self.header(), members }))
    }

    async fn health(&self, _: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn set_address(
        &self,
        _: Request<SetAddressRequest>,
    ) -> Result<Response<SetAddressResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        self.receive("transfer_leader", &request, None, |_| {}).await?;
        Ok(Response::new(TransferLeaderResponse { header: self.header() }))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<SnapshotResponse>, Status> {
        self.receive("snapshot", &request, None, |_| {}).await?;
        Ok(Response::new(SnapshotResponse { header: self.header(), snapshot_index: 42 }))
    }
    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::unimplemented("kvcli never asks for a report"))
    }
}
