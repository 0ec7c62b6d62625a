//! What a node is started with.

use std::sync::Arc;

use axum::Router;
use prometheus::core::Collector;

use super::error::StartError;
use super::handle::{Node, Shared};
use super::lifetime::Lifetime;
use super::part::Part;
use super::start::{Plan, Started};
use crate::api::{ClientServices, HEALTH_SERVICES};
use crate::application::{Application, Hosted, Typed};
use crate::auth::ScopeCheck;
use crate::config::{NodeConfig, Program};
use crate::http::json_router;
use crate::metrics::{Collectors, Op};

/// Makes the services of an application, over its node.
type MakeServices<A> = Box<dyn FnOnce(Node<A>) -> ClientServices + Send>;
/// Makes what is served over HTTP besides what every node does.
type MakeRouter<A> = fn(Node<A>) -> Router;

/// Unless the program gives others.
const DEFAULT_PROGRAM: Program =
    Program { name: "app", version: concat!("raftnode ", env!("CARGO_PKG_VERSION")) };

/// A node that is to be started.
pub struct Builder<A: Application> {
    application: Arc<A>,
    program: Program,
    services: Option<MakeServices<A>>,
    service_names: Vec<&'static str>,
    http: Option<MakeRouter<A>>,
    ops: Vec<Op>,
    collectors: Collectors,
    scopes: Option<ScopeCheck>,
}

impl<A: Application> Node<A> {
    /// To say where it listens and stores, and to start it.
    pub fn builder(application: A) -> Builder<A> {
        Builder::new(application)
    }
}

impl<A: Application> Builder<A> {
    fn new(application: A) -> Self {
        let ops = vec![Op::WRITE, Op::READ];
        Self {
            application: Arc::new(application),
            program: DEFAULT_PROGRAM,
            services: None,
            service_names: Vec::new(),
            http: None,
            ops,
            collectors: Collectors::default(),
            scopes: None,
        }
    }

    /// Names the application where names need one: its series on `/metrics`, which begin with
    /// `app` unless this says otherwise, as in `app_requests_total`. Letters, digits and `_`, not a
    /// digit first; [`start`](Self::start) refuses anything else.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.program.name = name;
        self
    }

    /// The program's version, as in `env!("CARGO_PKG_VERSION")`: what `kvcli cluster status`, the
    /// status page, `/metrics` and the log show of this node. `raftnode` and the version of this
    /// crate unless this says otherwise.
    #[must_use]
    pub fn version(mut self, version: &'static str) -> Self {
        self.program.version = version;
        self
    }

    /// Serves these on the port for clients, besides what every node does. `names` are their full
    /// names, as in `locks.v1.Locks`, for gRPC health.
    #[must_use]
    pub fn services(
        mut self,
        names: &[&'static str],
        make: impl FnOnce(Node<A>) -> ClientServices + Send + 'static,
    ) -> Self {
        self.services = Some(Box::new(make));
        self.service_names = names.to_vec();
        self
    }

    /// Serves commands and queries as JSON over HTTP: `POST /write`, `POST /read`,
    /// `POST /read-stale`. A write with the headers `client-id` (32 hexadecimal digits) and
    /// `sequence` is applied once. And serves what administers the cluster: `GET /admin/status` and
    /// `/admin/members`; `POST /admin/init`, `/admin/add-learner`, `/admin/promote`,
    /// `/admin/remove`, `/admin/change-membership`, `/admin/set-address`, `/admin/transfer-leader`
    /// and `/admin/snapshot`. Without an `--auth-file` reaching the port is all it takes.
    ///
    /// A failure has the code of [`Error::http_status`](super::Error::http_status), and is an object
    /// with `error` and `applied`, which is `no` or `unknown`.
    #[must_use]
    pub fn http_json(mut self) -> Self {
        self.http = Some(json_router);
        self
    }

    /// The operations of those services, for the metrics, in place of `write` and `read`.
    #[must_use]
    pub fn operations(mut self, ops: &[Op]) -> Self {
        self.ops = ops.to_vec();
        self
    }

    /// Shows these on `/metrics`, too.
    #[must_use]
    pub fn metrics(mut self, collectors: impl IntoIterator<Item = Box<dyn Collector>>) -> Self {
        self.collectors.extend(collectors);
        self
    }

    /// Where there is an `--auth-file`, each of its principals may have a `scope`, a list of texts
    /// which the application gives a meaning: `check` says what is wrong with an entry that has
    /// none. The services of the application ask a [`Caller`](crate::auth::Caller) for the scope
    /// within which a right holds. Without this a file with a scope is refused, and a right holds
    /// for everything.
    #[must_use]
    pub fn scopes(mut self, check: fn(&str) -> Result<(), String>) -> Self {
        self.scopes = Some(check);
        self
    }

    /// Starts the node: binds its sockets, claims its data directory, recovers what it stores, and
    /// serves.
    ///
    /// A node whose storage is damaged, or whose disk is full, starts all the same: it keeps its
    /// sockets and answers every request with what is wrong, until it is stopped.
    ///
    /// # Errors
    /// [`StartError`]; nothing has been changed that keeps it from starting later.
    pub async fn start(self, config: NodeConfig) -> Result<Node<A>, StartError> {
        let hosted = Hosted::new(Arc::new(Typed(Arc::clone(&self.application))));
        let (application, services, router) = (Arc::clone(&self.application), self.services, self.http);
        let lifetime = Shared::default();
        let of_surfaces = Arc::clone(&lifetime);
        let plan = Plan {
            config,
            program: self.program,
            hosted,
            ops: self.ops,
            collectors: self.collectors,
            scopes: self.scopes,
            service_names: [&HEALTH_SERVICES[..], &self.service_names].concat(),
            surfaces: Box::new(move |part| {
                // All services of a node without storage have the same answer, made elsewhere.
                let services = services.filter(|_| matches!(part, Part::Serving(_)));
                let node = Node::new(application, part, of_surfaces);
                let http = router.map_or_else(Router::new, |make| make(node.clone()));
                (services.map_or_else(ClientServices::default, |make| make(node)), http)
            }),
        };
        let started = plan.start().await?;
        let part = match &started {
            Started::Serving { api, .. } => Part::Serving(Arc::clone(api)),
            Started::Faulty(node) => Part::Faulty(Arc::clone(&node.faulty)),
        };
        let node = Node::new(self.application, part, lifetime);
        node.begin(Lifetime::new(started));
        Ok(node)
    }
}
