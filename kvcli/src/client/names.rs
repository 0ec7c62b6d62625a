//! From the names of endpoints to addresses: every address of a name is tried.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Cause, Endpoint, MAX_ENDPOINTS};

/// Addresses of one name that are tried; further ones are ignored.
pub const MAX_ADDRESSES_PER_ENDPOINT: usize = 16;

/// One lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);
/// Names remembered: every configured endpoint and as many learned from answers.
const MAX_NAMES_KEPT: usize = 2 * MAX_ENDPOINTS;

/// One of the addresses of an endpoint's name. Requests go to `socket` and name `endpoint` as
/// their authority.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) endpoint: Endpoint,
    pub(super) socket: SocketAddr,
}

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Finds the addresses behind a `host:port`.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(Endpoint) -> Lookup + Send + Sync>);

impl Resolver {
    /// One that asks `lookup`, which returns the addresses of an endpoint in the order of
    /// preference.
    pub fn new<F>(lookup: impl Fn(Endpoint) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |endpoint| Box::pin(lookup(endpoint))))
    }

    /// The one of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|endpoint: Endpoint| async move {
            Ok(tokio::net::lookup_host(endpoint.as_str()).await?.collect())
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// What is known about the addresses of names, shared by all clones of a client. A name is
/// looked up when it is first needed, and again once none of its addresses has answered.
///
/// Invariants: at most [`MAX_NAMES_KEPT`] names with at most [`MAX_ADDRESSES_PER_ENDPOINT`]
/// addresses each; no list is empty, and none is of silent addresses only.
#[derive(Debug)]
pub(super) struct Names {
    resolver: Resolver,
    known: Mutex<HashMap<Endpoint, Vec<Candidate>>>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    socket: SocketAddr,
    silent: bool,
}

impl Names {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self { resolver, known: Mutex::default() }
    }

    /// The addresses of `endpoint`, the most promising first.
    pub(super) async fn addresses(
        &self,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<Vec<Address>, Cause> {
        let sockets = match self.remembered(endpoint) {
            Some(sockets) => sockets,
            None => self.look_up(endpoint, deadline).await?,
        };
        let address = |socket| Address { endpoint: endpoint.clone(), socket };
        Ok(sockets.into_iter().map(address).collect())
    }

    /// The addresses of `endpoint` as far as they are known without a lookup.
    pub(super) fn remembered(&self, endpoint: &Endpoint) -> Option<Vec<SocketAddr>> {
        if let Ok(socket) = endpoint.as_str().parse() {
            return Some(vec![socket]);
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Some(known.get(endpoint)?.iter().map(|candidate| candidate.socket).collect())
    }

    async fn look_up(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Vec<SocketAddr>, Cause> {
        let started = Instant::now();
        let lookup = (self.resolver.0)(endpoint.clone());
        let found = match timeout_at(deadline.min(started + LOOKUP_TIMEOUT), lookup).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(Cause::Lookup(Arc::new(error))),
            Err(_elapsed) => return Err(Cause::LookupTimeout(started.elapsed())),
        };
        let mut sockets = Vec::new();
        for socket in found {
            if sockets.len() < MAX_ADDRESSES_PER_ENDPOINT && !sockets.contains(&socket) {
                sockets.push(socket);
            }
        }
        if sockets.is_empty() {
            return Err(Cause::Lookup(Arc::new(io::Error::other("the name has no address"))));
        }
        self.remember(endpoint, &sockets);
        Ok(sockets)
    }

    fn remember(&self, endpoint: &Endpoint, sockets: &[SocketAddr]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_NAMES_KEPT {
            // Only a node that names ever new leaders gets here; names are looked up again.
            known.clear();
        }
        let candidates = sockets.iter().map(|socket| Candidate { socket: *socket, silent: false }).collect();
        known.insert(endpoint.clone(), candidates);
    }

    /// `address` answered: it is tried first from now on.
    pub(super) fn answered(&self, address: &Address) {
        self.note(address, false);
    }

    /// `address` gave no sign of life: it is tried last, and once that is so for all, the name is
    /// looked up again.
    pub(super) fn silent(&self, address: &Address) {
        self.note(address, true);
    }

    fn note(&self, address: &Address, silent: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(candidates) = known.get_mut(&address.endpoint) else { return };
        let Some(at) = candidates.iter().position(|candidate| candidate.socket == address.socket) else {
            return;
        };
        let candidate = Candidate { silent, ..candidates.remove(at) };
        let place = if silent { candidates.len() } else { 0 };
        candidates.insert(place, candidate);
        if candidates.iter().all(|candidate| candidate.silent) {
            known.remove(&address.endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// Each lookup finds three addresses that no other finds.
    fn names() -> Names {
        let lookups = AtomicU8::new(0);
        Names::new(Resolver::new(move |_| {
            let lookup = lookups.fetch_add(1, Ordering::Relaxed);
            async move { Ok((1..=3).map(|last| SocketAddr::from(([127, 0, lookup, last], 1))).collect()) }
        }))
    }

    async fn ask(names: &Names, endpoint: &str) -> Vec<String> {
        let addresses = names.addresses(&endpoint.parse().unwrap(), soon()).await.unwrap();
        addresses.iter().map(|address| address.socket.ip().to_string()).collect()
    }

    fn address(socket: &str) -> Address {
        Address { endpoint: "n:1".parse().unwrap(), socket: format!("{socket}:1").parse().unwrap() }
    }

    #[tokio::test]
    async fn silent_addresses_are_last_and_the_name_is_looked_up_again_when_all_are() {
        let names = names();
        assert_eq!(ask(&names, "n:1").await, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        names.silent(&address("127.0.0.1"));
        assert_eq!(ask(&names, "n:1").await, ["127.0.0.2", "127.0.0.3", "127.0.0.1"]);
        names.answered(&address("127.0.0.3"));
        assert_eq!(ask(&names, "n:1").await, ["127.0.0.3", "127.0.0.2", "127.0.0.1"]);
        names.silent(&address("127.0.0.2"));
        names.silent(&address("127.0.0.3"));
        assert_eq!(ask(&names, "n:1").await, ["127.0.1.1", "127.0.1.2", "127.0.1.3"]);
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        assert_eq!(ask(&names(), "10.0.0.7:1").await, ["10.0.0.7"]);
        assert_eq!(ask(&names(), "[::1]:1").await, ["::1"]);
    }

    #[tokio::test]
    async fn names_without_addresses_and_with_too_many() {
        let endpoint = "n:1".parse().unwrap();
        let nothing = Names::new(Resolver::new(|_| async { Ok(vec![]) }));
        assert!(matches!(nothing.addresses(&endpoint, soon()).await, Err(Cause::Lookup(_))));
        let many = Names::new(Resolver::new(|_| async {
            Ok((0..=255).map(|last| SocketAddr::from(([127, 0, 0, last], 1))).collect())
        }));
        let found = many.addresses(&endpoint, soon()).await.unwrap();
        assert_eq!(found.len(), MAX_ADDRESSES_PER_ENDPOINT);
    }
}
