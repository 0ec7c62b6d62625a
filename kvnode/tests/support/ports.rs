//! Free ports, found below the range from which the system takes ports for outgoing connections.
//!
//! A port from that range would be free now, but while a killed node is down the others dial it
//! without end: sooner or later a connection is given the very port it dials as its own, connects
//! to itself, and the node cannot be started again.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::Dice;

/// Linux takes ports for outgoing connections from 32,768 up.
const CANDIDATES: Range<u16> = 11_000..32_000;

/// All that were found by this process, which runs several tests at once: a port whose node is down
/// for now is free to be bound, and not to be given to another test.
static FOUND: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Where one node listens on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub client: u16,
    pub raft: u16,
    pub http: u16,
}

impl Ports {
    pub fn client_addr(&self) -> String {
        address(self.client)
    }

    pub fn raft_addr(&self) -> String {
        address(self.raft)
    }

    pub fn http_addr(&self) -> String {
        address(self.http)
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Ports for `nodes` nodes, none of which is found a second time.
pub fn free_ports(nodes: usize) -> Vec<Ports> {
    let mut dice = Dice::unseeded();
    let mut port = || {
        loop {
            let span = usize::from(CANDIDATES.end - CANDIDATES.start);
            let candidate = CANDIDATES.start + u16::try_from(dice.below(span)).expect("below the span");
            let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)).is_ok();
            if is_free && FOUND.lock().unwrap_or_else(PoisonError::into_inner).insert(candidate) {
                return candidate;
            }
        }
    };
    (0..nodes).map(|_| Ports { client: port(), raft: port(), http: port() }).collect()
}
