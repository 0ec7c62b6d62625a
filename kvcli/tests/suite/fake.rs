//! A node that does what a test tells it to, in this process, behind a connection that can be cut.

mod cluster;
mod kv;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use kvcli::wire::cluster_server::ClusterServer;
use kvcli::wire::kv_server::KvServer;
use kvcli::wire::{ChangeMembershipRequest, HealthResponse, RequestId, SetAddressRequest, StatusResponse};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Status};

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

/// A port that refuses connections.
pub(crate) fn closed_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
