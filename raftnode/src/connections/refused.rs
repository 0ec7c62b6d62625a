//! Saying why a connection was refused, and not for each of them.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use crate::throttle::Throttle;

/// One line per listener in this time.
const SAY_INTERVAL: Duration = Duration::from_secs(60);

/// The connections that one listener refuses for what they show or say.
#[derive(Debug)]
pub(super) struct Refused {
    listener: &'static str,
    throttle: Throttle,
}

impl Refused {
    pub(super) fn by(listener: &'static str) -> Self {
        Self { listener, throttle: Throttle::once_in(SAY_INTERVAL) }
    }

    pub(super) fn say(&self, peer: Option<SocketAddr>, reason: &dyn Display) {
        let Some(suppressed) = self.throttle.allow() else { return };
        let peer = peer.map_or_else(|| "an address that is gone".to_owned(), |peer| peer.to_string());
        tracing::warn!(
            suppressed,
            "the {} listener refused a connection from {peer}: {reason}",
            self.listener
        );
    }
}
