//! Kept connections to nodes: dialled when first needed, shared by all clones of a client, dropped
//! when they break.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

use super::names::{Address, MAX_ADDRESSES_PER_ENDPOINT};
use super::stream::SessionOver;
use super::{Cause, ClientTls, Failure, MAX_ENDPOINTS};

/// The most connections kept to one endpoint.
pub const MAX_CONNECTIONS_PER_ENDPOINT: usize = 16;

/// One dial.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection with requests in flight that was silent for this long is pinged.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(300);
/// A ping without an answer for this long breaks the connection. Together these are as long as the
/// others take to replace a leader that is frozen: its lease.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// What a node may send on one stream before we have read it: more than any message.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What a node may send on one connection before we have read it.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Slots kept: the addresses of every configured endpoint, and of as many learned from answers.
const MAX_ADDRESSES_KEPT: usize = 2 * MAX_ENDPOINTS * MAX_ADDRESSES_PER_ENDPOINT;

/// The connections of one client, so many lanes to each address; operations take the lanes in turn.
///
/// Invariants: at most [`MAX_ADDRESSES_KEPT`] addresses in the map; at most one dial per address
/// and lane at a time.
#[derive(Debug)]
pub(super) struct Connections {
    lanes: usize,
    operations: AtomicUsize,
    tls: Option<ClientTls>,
    nodes: Mutex<HashMap<Address, Arc<[Slot]>>>,
}

#[derive(Debug, Default)]
struct Slot {
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    link: Option<Link>,
    /// Counts the dials, so that a failure reported late does not drop the connection's successor.
    generation: u64,
    failed: Option<(Instant, Cause)>,
}

/// A way to one node. Cheap to clone; clones share the session.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) channel: Channel,
    pub(super) session: SessionOver,
}

/// One usable connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: Link,
    lane: usize,
    generation: u64,
}

impl Connections {
    pub(super) fn new(lanes: usize, tls: Option<ClientTls>) -> Self {
        let lanes = lanes.clamp(1, MAX_CONNECTIONS_PER_ENDPOINT);
        Self { lanes, operations: AtomicUsize::new(0), tls, nodes: Mutex::default() }
    }

    /// A connection to `address`, dialled if there is none, by `deadline` at the latest.
    pub(super) async fn get(&self, address: &Address, deadline: Instant) -> Result<Connection, Failure> {
        let asked = Instant::now();
        let lane = self.operations.fetch_add(1, Ordering::Relaxed) % self.lanes;
        let node = self.node(address);
        let failure = |cause| Failure { endpoint: address.endpoint.clone(), cause };
        let late = || failure(Cause::ConnectTimeout(asked.elapsed()));
        let Some(slot) = node.get(lane) else {
            return Err(late());
        };
        let Ok(mut state) = timeout_at(deadline, slot.state.lock()).await else {
            return Err(late());
        };
        let tls = self.tls.as_ref();
        let (link, generation) = state.ready(address, tls, asked, deadline).await.map_err(failure)?;
        Ok(Connection { link, lane, generation })
    }

    /// What became of a request over one of them.
    pub(super) fn judged(&self, status: Status) -> Status {
        match &self.tls {
            Some(tls) => tls.judged(status),
            None => status,
        }
    }

    /// `connection` broke: the next request dials again.
    pub(super) async fn discard(&self, address: &Address, connection: &Connection, deadline: Instant) {
        let node = self.node(address);
        let Some(slot) = node.get(connection.lane) else {
            return;
        };
        // A task that holds the lock for long is dialling already.
        let Ok(mut state) = timeout_at(deadline, slot.state.lock()).await else { return };
        if state.generation == connection.generation {
            state.link = None;
        }
    }

    fn node(&self, address: &Address) -> Arc<[Slot]> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(address) {
            return Arc::clone(node);
        }
        if nodes.len() >= MAX_ADDRESSES_KEPT {
            // Only a node that names ever new leaders gets here; requests in flight keep their
            // channels.
            nodes.clear();
        }
        let node: Arc<[Slot]> = (0..self.lanes).map(|_| Slot::default()).collect();
        nodes.insert(address.clone(), Arc::clone(&node));
        node
    }
}

impl State {
    /// The connection and its generation, dialled if there is none.
    async fn ready(
        &mut self,
        address: &Address,
        tls: Option<&ClientTls>,
        asked: Instant,
        deadline: Instant,
    ) -> Result<(Link, u64), Cause> {
        if let Some(link) = &self.link {
            return Ok((link.clone(), self.generation));
        }
        // Requests that queued behind a dial that failed share its result instead of dialling one
        // by one.
        if let Some((at, cause)) = &self.failed
            && *at >= asked
        {
            return Err(cause.clone());
        }
        self.generation += 1;
        match dial(address, tls, deadline).await {
            Ok(channel) => {
                let link = Link { channel, session: SessionOver::default() };
                self.link = Some(link.clone());
                Ok((link, self.generation))
            }
            Err(cause) => {
                self.failed = Some((Instant::now(), cause.clone()));
                Err(cause)
            }
        }
    }
}

async fn dial(address: &Address, tls: Option<&ClientTls>, deadline: Instant) -> Result<Channel, Cause> {
    let started = Instant::now();
    let tls = match tls.cloned() {
        None => None,
        Some(tls) => {
            let endpoint = address.endpoint.clone();
            let read = tokio::task::spawn_blocking(move || tls.of(&endpoint)).await;
            let read = read.map_err(|e| Cause::Tls(format!("certificates were not read: {e}")))?;
            Some(read.map_err(|bad| Cause::Tls(bad.to_string()))?)
        }
    };
    let (scheme, authority) = match &tls {
        None => ("http", address.endpoint.uri("http")),
        Some(_) => ("https", address.endpoint.uri("https")),
    };
    let connecting = async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("{scheme}://{}", address.socket))?;
        let endpoint = match authority.parse() {
            Ok(authority) => endpoint.origin(authority),
            Err(_) => endpoint,
        };
        let endpoint = match tls {
            None => endpoint,
            Some(tls) => endpoint.tls_config(tls)?,
        };
        endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect()
            .await
    };
    match timeout_at(deadline.min(started + CONNECT_TIMEOUT), connecting).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(Cause::Connect(Arc::new(error))),
        Err(_elapsed) => Err(Cause::ConnectTimeout(started.elapsed())),
    }
}
