//! The handle that callers hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::connections::Connections;
use super::identity::Identity;
use super::leader::Leader;
use super::names::Names;
use super::session::Sessions;
use super::{ClientError, ClientOptions, ClusterId, Endpoint, TraceId};

/// A client of one cluster. Cheap to clone.
///
/// Clones share connections, and the identities under which a retried write is applied once. Up to
/// 1024 writes are on their way at a time, in no order; who awaits a write before the next one has
/// them applied in that order. Reads are not limited.
///
/// Nothing is dialled before the first request, which must run inside a Tokio runtime. A client
/// with several endpoints begins by asking all of them which cluster they belong to, once; every
/// request then says which cluster it is meant for, and an answer of another one is refused.
///
/// Dropping the future of a write gives the write up; it may still be applied.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) timeout: Duration,
    pub(super) trace: Option<TraceId>,
}

/// What all clones of a client share. Invariant: `endpoints` is not empty.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) names: Names,
    pub(super) connections: Connections,
    pub(super) identity: Identity,
    pub(super) leader: Leader,
    pub(super) sessions: Sessions,
    /// Index of the configured endpoint that answered last: tried first.
    pub(super) first: AtomicUsize,
    pub(super) options: ClientOptions,
}

impl Shared {
    /// `endpoint` gave no sign of life: start elsewhere next time.
    pub(super) fn avoid(&self, endpoint: &Endpoint) {
        self.leader.unreachable(endpoint);
        let first = self.first.load(Ordering::Relaxed);
        if self.endpoints.get(first) == Some(endpoint) {
            self.first.store((first + 1) % self.endpoints.len(), Ordering::Relaxed);
        }
    }

    /// `endpoint` answered: start there next time.
    pub(super) fn prefer(&self, endpoint: &Endpoint) {
        if let Some(index) = self.endpoints.iter().position(|known| known == endpoint) {
            self.first.store(index, Ordering::Relaxed);
        }
    }
}

impl Client {
    /// A client that knows `endpoints`, each `host:port` with an optional `http://`.
    ///
    /// # Errors
    /// [`ClientError::BadEndpoint`], [`ClientError::NoEndpoint`],
    /// [`ClientError::TooManyEndpoints`], [`ClientError::BadTlsFile`] or
    /// [`ClientError::TokenOverPlaintext`]. A node that cannot be reached is not an error yet.
    pub fn connect(
        endpoints: impl IntoIterator<Item = impl AsRef<str>>,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        if let Some(tls) = &options.tls {
            tls.check()?;
        }
        if let Some(token) = &options.token {
            token.check(options.tls.as_ref())?;
        }
        let shared = Shared {
            endpoints: Endpoint::parse_all(endpoints)?,
            names: Names::new(options.resolver.clone()),
            connections: Connections::new(options.connections_per_endpoint, options.tls.clone()),
            identity: Identity::new(options.cluster_id),
            leader: Leader::default(),
            sessions: Sessions::new(),
            first: AtomicUsize::new(0),
            options,
        };
        let timeout = shared.options.timeout;
        Ok(Self { shared: Arc::new(shared), timeout, trace: None })
    }

    /// The same client with another time per operation.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same client with operations that are all logged under `trace`; otherwise
    /// each has an id of its own.
    #[must_use]
    pub fn with_trace(&self, trace: TraceId) -> Self {
        Self { trace: Some(trace), ..self.clone() }
    }

    /// The endpoints it was given.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.shared.endpoints
    }

    /// Options that make another client like this one, of the same cluster if that is known.
    #[must_use]
    pub fn options(&self) -> ClientOptions {
        ClientOptions { timeout: self.timeout, cluster_id: self.cluster_id(), ..self.shared.options.clone() }
    }

    /// The cluster that it talks to; none before it has been chosen, or named in an answer.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.shared.identity.known()
    }

    /// Time per operation.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}
