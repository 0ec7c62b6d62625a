//! Waiting between rounds over the endpoints.

use std::time::Duration;

/// Before the second round.
const INITIAL_BACKOFF: Duration = Duration::from_millis(20);
/// Waits double up to this.
const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// Capped exponential waits with jitter, so that clients that lost a leader together do not return
/// together. Invariant: `next` is at most [`MAX_BACKOFF`].
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: INITIAL_BACKOFF }
    }

    /// Between half and all of the current step.
    pub(super) fn wait(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(MAX_BACKOFF);
        step.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_no_further() {
        let mut backoff = Backoff::new();
        assert!(backoff.wait() <= INITIAL_BACKOFF);
        let waits: Vec<_> = (0..20).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| *wait <= MAX_BACKOFF));
        assert!(waits[19] >= MAX_BACKOFF / 2);
    }
}
