//! A node that does what a test tells it to, in this process, behind a connection that can be cut.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvcli::wire::cluster_server::{Cluster, ClusterServer};
use kvcli::wire::kv_server::{Kv, KvServer};
use kvcli::wire::operation::Request as Asked;
use kvcli::wire::operation_response::Response as Answered;
use kvcli::wire::{
    AddLearnerRequest, AddLearnerResponse, ChangeMembershipRequest, ChangeMembershipResponse, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, HealthRequest, HealthResponse, InitRequest, InitResponse,
    OperationFailure, OperationResponse, Pair, PutRequest, PutResponse, ReportRequest, ReportResponse,
    RequestId, ResponseHeader, ScanRequest, ScanResponse, SessionRequest, SessionResponse, SetAddressRequest,
    SetAddressResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
    TransferLeaderRequest, TransferLeaderResponse, node,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

/// The cluster of every fake, unless a test says otherwise.
pub(crate) const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
/// Another one.
pub(crate) const OTHER: &str = "ffffffffffffffffffffffffffffffff";

/// What happens to the next request. The questions of `Status` and `Health` are no such requests.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// It fails with this code and the proof that it was not applied, and names this leader.
    Fail(Code, Option<String>),
    /// It fails with this code and without that proof, as libraries and proxies do it.
    FailBare(Code),
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
    /// The cluster that the request names.
    pub(crate) cluster: Option<String>,
    pub(crate) authority: String,
}

/// The last request that changes the membership.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Changed {
    Membership(ChangeMembershipRequest),
    Address(SetAddressRequest),
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
    /// Of which cluster this is a node; empty: of none.
    pub(crate) cluster: String,
    pub(crate) status: StatusResponse,
    /// None: not implemented.
    pub(crate) health: Option<HealthResponse>,
    /// How often it was asked for its status.
    pub(crate) asked: usize,
    /// Requests that name another cluster are refused, as a node does it.
    pub(crate) checks_cluster: bool,
    /// Accepts connections and requests and answers nothing.
    pub(crate) frozen: bool,
    pub(crate) last_request: Option<Changed>,
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
        Self::start_at("127.0.0.1:0").await
    }

    /// One that serves at `address`, which may be any of 127.0.0.0/8.
    pub(crate) async fn start_at(address: &str) -> Self {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outer = TcpListener::bind(address).await.unwrap();
        let inner_address = inner.local_addr().unwrap();
        let address = outer.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State {
            pairs_per_page: 100,
            cluster: CLUSTER.into(),
            checks_cluster: true,
            ..State::default()
        }));
        let fake = Self { address, state };
        let server = tonic::transport::Server::builder()
            .add_service(Watched(KvServer::new(fake.clone())))
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
        let cluster = named_cluster(request);
        let authority = request.extensions().get::<Authority>().map_or_else(String::new, |a| a.0.clone());
        self.admit(&cluster).await?;
        let step = self.with(|state| {
            state.seen.push(Seen { operation, request_id, has_deadline, cluster, authority });
            let step = state.steps.pop_front().or_else(|| state.always.clone());
            if !matches!(step, Some(Step::Fail(..) | Step::FailBare(_) | Step::Hang)) {
                apply(state);
            }
            step
        });
        match step {
            None => Ok(()),
            Some(Step::Fail(code, leader)) => Err(self.failure(code, leader)),
            Some(Step::FailBare(code)) => Err(Status::new(code, format!("scripted {code:?}"))),
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::ApplyAndCut) => {
                self.with(|state| state.connections.drain(..).for_each(|c| c.abort()));
                std::future::pending().await
            }
        }
    }

    /// Refuses what is meant for another cluster; never returns if it is frozen.
    async fn admit(&self, named: &Option<String>) -> Result<(), Status> {
        if self.with(|state| state.frozen) {
            return std::future::pending().await;
        }
        let (checks, cluster) = self.with(|state| (state.checks_cluster, state.cluster.clone()));
        match named {
            Some(named) if checks && *named != cluster => Err(self.failure(Code::FailedPrecondition, None)),
            _ => Ok(()),
        }
    }

    fn failure(&self, code: Code, leader: Option<String>) -> Status {
        let mut status = Status::new(code, format!("scripted {code:?}"));
        let metadata = status.metadata_mut();
        metadata.insert("node-id", "1".parse().unwrap());
        if !matches!(code, Code::Unknown | Code::DeadlineExceeded) {
            metadata.insert("node-not-applied", "1".parse().unwrap());
        }
        let cluster = self.with(|state| state.cluster.clone());
        if !cluster.is_empty() {
            metadata.insert("node-cluster-id", cluster.parse().unwrap());
        }
        if let Some(leader) = leader {
            metadata.insert("node-leader-addr", leader.parse().unwrap());
        }
        status
    }

    fn node_header(&self) -> Option<node::ResponseHeader> {
        let (leader_addr, cluster_id) = self.with(|state| (state.leader.clone(), state.cluster.clone()));
        Some(node::ResponseHeader { cluster_id, node_id: 1, leader_id: 1, leader_addr, term: 3 })
    }

    fn header(&self) -> Option<ResponseHeader> {
        let (leader_addr, cluster_id) = self.with(|state| (state.leader.clone(), state.cluster.clone()));
        Some(ResponseHeader { cluster_id, node_id: 1, leader_id: 1, leader_addr, term: 3, revision: 17 })
    }
}

/// For whom a request asked: the `:authority` of HTTP/2.
#[derive(Clone)]
struct Authority(String);

/// Hands the authority of each request to the service within.
#[derive(Clone)]
struct Watched<S>(S);

impl<S: NamedService> NamedService for Watched<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<B>>, B> Service<http::Request<B>> for Watched<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> S::Future {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        request.extensions_mut().insert(Authority(authority));
        self.0.call(request)
    }
}

fn named_cluster<T>(request: &Request<T>) -> Option<String> {
    Some(request.metadata().get("node-cluster-id")?.to_str().unwrap().to_owned())
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

#[tonic::async_trait]
impl Cluster for Fake {
    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        self.receive("init", &request, None, |_| {}).await?;
        let members = self.with(|state| state.status.members.clone());
        let header = self.node_header();
        Ok(Response::new(InitResponse { header, already_initialized: false, members }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.with(|state| state.asked += 1);
        self.admit(&named_cluster(&request)).await?;
        let header = self.node_header();
        let status = self.with(|state| state.status.clone());
        Ok(Response::new(StatusResponse { header, ..status }))
    }

    async fn add_learner(
        &self,
        request: Request<AddLearnerRequest>,
    ) -> Result<Response<AddLearnerResponse>, Status> {
        self.receive("add_learner", &request, None, |_| {}).await?;
        let members = self.with(|state| state.status.members.clone());
        Ok(Response::new(AddLearnerResponse { header: self.node_header(), members, catching_up: false }))
    }

    async fn change_membership(
        &self,
        request: Request<ChangeMembershipRequest>,
    ) -> Result<Response<ChangeMembershipResponse>, Status> {
        self.receive("change_membership", &request, None, |_| {}).await?;
        self.with(|state| state.last_request = Some(Changed::Membership(request.into_inner())));
        let members = self.with(|state| state.status.members.clone());
        Ok(Response::new(ChangeMembershipResponse { header: self.node_header(), members }))
    }

    async fn health(&self, request: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        self.admit(&named_cluster(&request)).await?;
        let health = self.with(|state| state.health.clone());
        let health = health.ok_or_else(|| Status::unimplemented(""))?;
        Ok(Response::new(HealthResponse { header: self.node_header(), ..health }))
    }

    async fn set_address(
        &self,
        request: Request<SetAddressRequest>,
    ) -> Result<Response<SetAddressResponse>, Status> {
        self.receive("set_address", &request, None, |_| {}).await?;
        self.with(|state| state.last_request = Some(Changed::Address(request.into_inner())));
        let members = self.with(|state| state.status.members.clone());
        Ok(Response::new(SetAddressResponse { header: self.node_header(), members }))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        self.receive("transfer_leader", &request, None, |_| {}).await?;
        let leader_id = request.into_inner().to;
        Ok(Response::new(TransferLeaderResponse { header: self.node_header(), leader_id }))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<SnapshotResponse>, Status> {
        self.receive("snapshot", &request, None, |_| {}).await?;
        Ok(Response::new(SnapshotResponse { header: self.node_header(), snapshot_index: 42 }))
    }
    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::unimplemented("kvcli never asks for a report"))
    }
}
