//! Refusing: with a text that a person can act on, counted, in the log within bounds, and held back
//! for a moment.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::Status;

use super::Right;
use super::credential::Unproven;
use super::principal::Principal;
use crate::metrics::AuthMetrics;
use crate::throttle::Throttle;

/// How long a refusal is held back, so that a client which repeats what is refused is slowed down.
/// Nothing of its request is kept meanwhile.
const HOLD_BACK: Duration = Duration::from_millis(250);
/// Refusals held back at a time, on both ports together; one more is answered at once. Each costs a
/// timer.
const MAX_HELD_BACK: usize = 256;
/// What is repeated of a path.
const MAX_PATH_CHARS: usize = 100;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Reason<'a> {
    Unproven(Unproven),
    Lacks { principal: Arc<Principal>, right: Right, needed_by: &'a str },
    Outside { principal: Arc<Principal>, what: String },
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproven(unproven) => write!(f, "the request is of no principal: {unproven}"),
            Self::Lacks { principal, right, needed_by } => write!(
                f,
                "principal '{}' has not the right '{right}', which {} needs; add it to its `rights` in --auth-file",
                principal.name,
                shown(needed_by)
            ),
            Self::Outside { principal, what } => write!(
                f,
                "{what} is outside of the scope of principal '{}'; add to its `scope` in --auth-file",
                principal.name
            ),
        }
    }
}

/// A path comes from the network, and goes to logs and terminals.
fn shown(path: &str) -> String {
    path.chars().take(MAX_PATH_CHARS).flat_map(char::escape_default).collect()
}

impl Reason<'_> {
    pub(super) fn is_unproven(&self) -> bool {
        matches!(self, Self::Unproven(_))
    }

    pub(super) fn status(&self) -> Status {
        let text = format!("{self}; not applied");
        match self.is_unproven() {
            true => Status::unauthenticated(text),
            false => Status::permission_denied(text),
        }
    }
}

/// What all that refuses on one node shares.
#[derive(Debug)]
pub(crate) struct Refusals {
    metrics: AuthMetrics,
    unproven: Throttle,
    denied: Throttle,
    held_back: Semaphore,
}

impl Refusals {
    pub(crate) fn new(metrics: AuthMetrics) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            unproven: Throttle::default(),
            denied: Throttle::default(),
            held_back: Semaphore::new(MAX_HELD_BACK),
        })
    }

    /// Counts a refusal, and says it in the log unless there were many lately.
    pub(super) fn note(&self, reason: &Reason<'_>, client: Option<SocketAddr>) {
        let throttle = match reason.is_unproven() {
            true => {
                self.metrics.unauthenticated.inc();
                &self.unproven
            }
            false => {
                self.metrics.permission_denied.inc();
                &self.denied
            }
        };
        let Some(suppressed) = throttle.allow() else { return };
        match client {
            Some(client) => tracing::warn!(suppressed, "refused a request from {client}: {reason}"),
            None => tracing::warn!(suppressed, "refused a request of a stream: {reason}"),
        }
    }

    /// Returns after a moment, or at once if too many wait.
    pub(super) async fn hold_back(&self) {
        if let Ok(_place) = self.held_back.try_acquire() {
            tokio::time::sleep(HOLD_BACK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;
    use crate::metrics::{Metrics, Op};

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_held_back() {
        let metrics = Metrics::new(Program { name: "app", version: "1" }, 1, "test", &[Op::WRITE]).unwrap();
        let refusals = Refusals::new(metrics.auth.clone());
        let began = tokio::time::Instant::now();
        let held = futures_util::future::join_all((0..MAX_HELD_BACK).map(|_| refusals.hold_back()));
        let one_more = async {
            refusals.hold_back().await;
            began.elapsed()
        };
        let (_, at_once) = tokio::join!(held, one_more);
        assert!(at_once < HOLD_BACK && began.elapsed() >= HOLD_BACK, "{at_once:?}");
        refusals.hold_back().await;
        assert!(began.elapsed() >= 2 * HOLD_BACK, "the places are free again");
    }

    #[test]
    fn a_path_is_cut_and_harmless() {
        let shown = shown(&format!("/\u{1b}[2J{}", "x".repeat(1000)));
        assert!(shown.len() < 2 * MAX_PATH_CHARS && !shown.contains('\u{1b}'), "{shown}");
    }
}
