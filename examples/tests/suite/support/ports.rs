//! Ports below the range from which the system takes ports for outgoing connections: one from that
//! range may be taken by a connection between the time when it is found and when a node listens.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use super::Dice;

/// Linux takes ports for outgoing connections from 32,768 up.
const CANDIDATES: Range<u16> = 11_000..32_000;

/// Holds a port, which is free once it is dropped.
pub fn hold_port() -> TcpListener {
    let mut dice = Dice::unseeded();
    loop {
        let at = dice.below(CANDIDATES.len());
        let port = CANDIDATES.start + u16::try_from(at).expect("below the span");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener;
        }
    }
}
