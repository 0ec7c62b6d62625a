//! The last known leader, shared by all clones of a client.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::Endpoint;

/// How long an address that could not be reached is not believed to be the leader's, whatever the
/// other nodes say: until an election they all name the node that just died.
const UNREACHABLE_HOLD: Duration = Duration::from_secs(2);

/// Where the next leader-only request goes first. Invariant: `known` is never the address in `held`
/// while that hold lasts.
#[derive(Debug, Default)]
pub(super) struct Leader {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Endpoint>,
    held: Option<(Endpoint, Instant)>,
}

impl Leader {
    pub(super) fn known(&self) -> Option<Endpoint> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).known.clone()
    }

    /// Takes a hint from an answer. What is not an address, or empty, is ignored.
    pub(super) fn learn(&self, address: &str) {
        if self.known().is_some_and(|known| known.as_str() == address) {
            return;
        }
        let Ok(endpoint) = address.parse::<Endpoint>() else {
            return;
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let held = state
            .held
            .as_ref()
            .is_some_and(|(held, since)| *held == endpoint && since.elapsed() < UNREACHABLE_HOLD);
        if !held {
            state.known = Some(endpoint);
        }
    }

    /// `endpoint` does not lead (any more).
    pub(super) fn forget(&self, endpoint: &Endpoint) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.known.as_ref() == Some(endpoint) {
            state.known = None;
        }
    }

    /// `endpoint` cannot be reached from here.
    pub(super) fn unreachable(&self, endpoint: &Endpoint) {
        self.forget(endpoint);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.held = Some((endpoint.clone(), Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_leader_is_not_believed_again_at_once() {
        let leader = Leader::default();
        leader.learn("a:1");
        leader.unreachable(&"a:1".parse().unwrap());
        leader.learn("a:1");
        assert_eq!(leader.known(), None);
        leader.learn("b:1");
        assert_eq!(leader.known(), Some("b:1".parse().unwrap()));
    }

    #[test]
    fn garbage_is_ignored() {
        let leader = Leader::default();
        leader.learn("a:1");
        for garbage in ["", "nonsense", "a:99999", "a b:1"] {
            leader.learn(garbage);
        }
        assert_eq!(leader.known(), Some("a:1".parse().unwrap()));
    }
}
