//! The places of one listener, each held by a connection until it ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

/// A connection that has sent nothing for so long is closed.
pub(super) const SILENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Where another one waits for its place, so much earlier.
pub(super) const ROOM_AFTER: Duration = Duration::from_secs(1);
/// A connection that has sent something, but has had no request under way for so long, is closed
/// where another one waits for its place.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long connections may keep their places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// [`SILENT_TIMEOUT`].
    pub(crate) silent: Duration,
    /// [`ROOM_AFTER`].
    pub(crate) room_after: Duration,
    /// [`IDLE_TIMEOUT`].
    pub(crate) idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { silent: SILENT_TIMEOUT, room_after: ROOM_AFTER, idle: IDLE_TIMEOUT }
    }
}

/// Cheap to clone; clones share the places.
///
/// Invariant: there are never more than `bound` in `taken`.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bound: usize,
    patience: Patience,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, Arc<Seat>>,
}

/// What is known of the connection in a place.
#[derive(Debug)]
struct Seat {
    state: Mutex<Usage>,
    /// It has to end.
    is_closed: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

#[derive(Debug, Clone, Copy)]
struct Usage {
    /// It has sent something.
    has_spoken: bool,
    /// Requests under way.
    requests: usize,
    /// Since when there has been none.
    since: Instant,
}

/// The place of one connection; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    seat: Arc<Seat>,
    places: Places,
}

/// Counts the requests of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Requests(Arc<Seat>);

/// A request is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Seat>);

impl Places {
    pub(crate) fn new(bound: usize, patience: Patience) -> Self {
        Self(Arc::new(Shared { bound, patience, taken: Mutex::default(), freed: Notify::new() }))
    }

    pub(crate) fn bound(&self) -> usize {
        self.0.bound
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if one is free.
    pub(crate) fn take(&self) -> Option<Place> {
        let mut taken = self.lock();
        if taken.seats.len() >= self.0.bound {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        let seat = Arc::new(Seat::new());
        taken.seats.insert(number, Arc::clone(&seat));
        Some(Place { number, seat, places: self.clone() })
    }

    /// Returns when a place has become free, at once if one has since the last call.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }

    /// Closes the connection that can best be done without: one that has sent nothing, else the
    /// one that has been idle for longest. Answers whether there was one.
    pub(crate) fn make_room(&self) -> bool {
        let Patience { room_after, idle, .. } = self.0.patience;
        let may_go = |usage: &Usage| usage.idle() >= if usage.has_spoken { idle } else { room_after };
        let taken = self.lock();
        let candidates = taken.seats.values().filter(|seat| !seat.is_closed()).map(|seat| (seat.get(), seat));
        let goes = candidates
            .filter(|(usage, _)| usage.requests == 0 && may_go(usage))
            .min_by_key(|(usage, _)| (usage.has_spoken, usage.since));
        goes.map(|(_, seat)| seat.close()).is_some()
    }

    /// Closes every connection that has sent nothing for so long that it will not.
    pub(crate) fn close_silent(&self) {
        self.close_silent_for(self.0.patience.silent);
    }

    /// Closes every connection that has sent nothing. No request of theirs is lost, and they hold
    /// up the end.
    pub(crate) fn close_all_silent(&self) {
        self.close_silent_for(Duration::ZERO);
    }

    fn close_silent_for(&self, span: Duration) {
        let taken = self.lock();
        let is_silent = |usage: Usage| !usage.has_spoken && usage.requests == 0 && usage.idle() >= span;
        taken.seats.values().filter(|seat| is_silent(seat.get())).for_each(|seat| seat.close());
    }
}

impl Usage {
    fn idle(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Seat {
    fn new() -> Self {
        let usage = Usage { has_spoken: false, requests: 0, since: Instant::now() };
        Self {
            state: Mutex::new(usage),
            is_closed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Usage> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Usage {
        *self.lock()
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }
}

impl Place {
    /// The connection has sent so much that it means it.
    pub(super) fn has_spoken(&self) {
        self.seat.lock().has_spoken = true;
    }

    /// Whether the connection has to end; if not, `waker` is woken as soon as it has to, until
    /// the next call.
    pub(super) fn is_closed_for_reading(&self, waker: &Waker) -> bool {
        self.seat.reader.register(waker);
        self.seat.is_closed()
    }

    /// The same for the task that writes.
    pub(super) fn is_closed_for_writing(&self, waker: &Waker) -> bool {
        self.seat.writer.register(waker);
        self.seat.is_closed()
    }

    pub(crate) fn requests(&self) -> Requests {
        Requests(Arc::clone(&self.seat))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().seats.remove(&self.number);
        self.places.0.freed.notify_one();
    }
}

impl Requests {
    /// One more is under way.
    pub(crate) fn begin(&self) -> UnderWay {
        self.0.lock().requests += 1;
        UnderWay(Arc::clone(&self.0))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut usage = self.0.lock();
        debug_assert!(usage.requests > 0, "it has begun");
        usage.requests -= 1;
        usage.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Patience =
        Patience { silent: Duration::ZERO, room_after: Duration::ZERO, idle: Duration::ZERO };

    fn closed(place: &Place) -> bool {
        place.is_closed_for_reading(Waker::noop())
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_has_ended() {
        let places = Places::new(2, AT_ONCE);
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        drop(first);
        let third = places.take().unwrap();
        assert!(places.take().is_none());
        drop((second, third));
        assert!(places.lock().seats.is_empty());
    }

    #[test]
    fn the_silent_go_first_then_the_longest_idle_and_never_one_with_a_request() {
        let places = Places::new(9, AT_ONCE);
        let take = || places.take().unwrap();
        let (busy, idle, idle_later, silent) = (take(), take(), take(), take());
        let request = busy.requests().begin();
        [&busy, &idle, &idle_later].into_iter().for_each(Place::has_spoken);
        for goes in [&silent, &idle, &idle_later] {
            assert!(!closed(goes));
            assert!(places.make_room());
            assert!(closed(goes));
        }
        assert!(!places.make_room() && !closed(&busy));
        drop(request);
        assert!(places.make_room() && closed(&busy));
    }

    #[test]
    fn only_what_has_waited_long_enough_makes_room() {
        let long = Duration::from_secs(3600);
        let places = Places::new(9, Patience { silent: long, room_after: Duration::ZERO, idle: long });
        let (silent, spoken) = (places.take().unwrap(), places.take().unwrap());
        spoken.has_spoken();
        places.close_silent();
        assert!(!closed(&silent) && !closed(&spoken));
        assert!(places.make_room() && closed(&silent));
        assert!(!places.make_room() && !closed(&spoken));
    }

    #[test]
    fn the_end_closes_those_that_have_sent_nothing() {
        let places = Places::new(9, Patience::default());
        let (silent, spoken) = (places.take().unwrap(), places.take().unwrap());
        spoken.has_spoken();
        places.close_all_silent();
        assert!(closed(&silent) && !closed(&spoken));
    }
}
