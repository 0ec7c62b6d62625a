//! Ports below the range from which the system takes ports for outgoing connections: one from that
//! range may be taken by a connection between the time when it is found and when a node listens.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Linux takes ports for outgoing connections from 32,768 up.
const CANDIDATES: Range<u16> = 11_000..32_000;

/// Holds a port, which is free once it is dropped.
pub(crate) fn hold() -> TcpListener {
    loop {
        let port = rand::random_range(CANDIDATES);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener;
        }
    }
}
