//! The identity under which writes are applied once.

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, error::Elapsed, timeout_at};

use super::wire::RequestId;

/// A client id and its sequence numbers.
///
/// Invariants: one write is in flight at a time (its [`Turn`] holds the lock); sequences start at 1
/// and only rise, so that no number is ever used for two writes.
#[derive(Debug)]
pub(super) struct Session {
    client_id: Bytes,
    last_sequence: Mutex<u64>,
}

/// The right to have one write in flight; ends when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) request_id: RequestId,
    _last_sequence: MutexGuard<'a, u64>,
}

impl Session {
    pub(super) fn new() -> Self {
        let client_id = Bytes::copy_from_slice(&rand::random::<[u8; 16]>());
        Self { client_id, last_sequence: Mutex::new(0) }
    }

    /// Waits for the write before, and takes the next sequence number.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<Turn<'_>, Elapsed> {
        let mut last_sequence = timeout_at(deadline, self.last_sequence.lock()).await?;
        *last_sequence += 1;
        let request_id = RequestId { client_id: self.client_id.clone(), sequence: *last_sequence };
        Ok(Turn { request_id, _last_sequence: last_sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn sequences_rise_and_one_turn_excludes_the_next() {
        let session = Session::new();
        let soon = || Instant::now() + Duration::from_millis(20);
        let first = session.turn(soon()).await.unwrap();
        assert_eq!(first.request_id.sequence, 1);
        assert_eq!(first.request_id.client_id.len(), 16);
        assert!(session.turn(soon()).await.is_err());
        drop(first);
        assert_eq!(session.turn(soon()).await.unwrap().request_id.sequence, 2);
    }
}
