//! The identities under which writes are applied once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::wire::RequestId;

/// Writes of one client that are on their way; more wait.
pub(super) const MAX_WRITES_IN_FLIGHT: usize = 1024;

/// An identity: a client id and its sequence numbers.
///
/// Invariant: sequences start at 1 and only rise, so that no number is ever used for two writes.
#[derive(Debug)]
struct Session {
    client_id: Bytes,
    last_sequence: u64,
}

impl Session {
    fn new() -> Self {
        Self { client_id: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()), last_sequence: 0 }
    }
}

/// The sessions of a client: each has one write in flight, and there are as many as the client ever
/// had writes in flight at once.
///
/// The one that was used last is used next. So what a client writes after it has given a write up
/// has the same client id and a higher sequence: the earlier write is not applied after it.
#[derive(Debug)]
pub(super) struct Sessions {
    idle: Mutex<Vec<Session>>,
    room: Semaphore,
}

/// The right to have one write in flight; ends when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    sessions: &'a Sessions,
    session: Option<Session>,
    _room: SemaphorePermit<'a>,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self { idle: Mutex::default(), room: Semaphore::new(MAX_WRITES_IN_FLIGHT) }
    }

    /// Takes a session and its next sequence number; none if there is no room until `deadline`.
    pub(super) async fn turn(&self, deadline: Instant) -> Option<Turn<'_>> {
        let room = timeout_at(deadline, self.room.acquire()).await.ok()?.ok()?;
        let mut session = self.idle().pop().unwrap_or_else(Session::new);
        session.last_sequence += 1;
        Some(Turn { sessions: self, session: Some(session), _room: room })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Under which the write is applied once.
    pub(super) fn request_id(&self) -> Option<RequestId> {
        let Session { client_id, last_sequence } = self.session.as_ref()?;
        Some(RequestId { client_id: client_id.clone(), sequence: *last_sequence })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.sessions.idle().extend(self.session.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    async fn id(sessions: &Sessions) -> RequestId {
        sessions.turn(soon()).await.unwrap().request_id().unwrap()
    }

    #[tokio::test]
    async fn writes_after_one_another_have_one_session_with_sequences_that_rise() {
        let sessions = Sessions::new();
        let first = id(&sessions).await;
        assert_eq!((first.sequence, first.client_id.len()), (1, 16));
        let second = id(&sessions).await;
        assert_eq!((second.sequence, second.client_id), (2, first.client_id));
    }

    /// Found: they waited for one another, so that a client that many tasks share had one write in
    /// flight: eight clients of 128 tasks each came to a quarter of the writes of plain calls.
    #[tokio::test]
    async fn writes_at_once_have_a_session_each() {
        let sessions = Sessions::new();
        let (one, other) = (sessions.turn(soon()).await.unwrap(), sessions.turn(soon()).await.unwrap());
        assert_ne!(one.request_id().unwrap().client_id, other.request_id().unwrap().client_id);
        drop(one);
        drop(other);
        assert_eq!(id(&sessions).await.sequence, 2);
        assert_eq!(sessions.idle().len(), 2);
    }

    #[tokio::test]
    async fn writes_at_once_are_bounded() {
        let sessions = Sessions::new();
        let mut turns = Vec::new();
        for _ in 0..MAX_WRITES_IN_FLIGHT {
            turns.push(sessions.turn(soon()).await.unwrap());
        }
        assert!(sessions.turn(soon()).await.is_none());
        turns.pop();
        assert!(sessions.turn(soon()).await.is_some());
    }
}
