//! A value that several threads change and wait for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The value behind a lock, which is held for memory operations only, and word of its changes.
#[derive(Default)]
pub(crate) struct Monitor<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Monitor<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the threads that wait.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Changes the value, and wakes the threads that wait.
    pub(crate) fn change<A>(&self, change: impl FnOnce(&mut T) -> A) -> A {
        let answer = change(&mut self.lock());
        self.notify();
        answer
    }

    /// Waits for a change.
    pub(crate) fn wait<'a>(&'a self, value: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.changed.wait(value).unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for so long at most.
    pub(crate) fn wait_for<'a>(&'a self, value: MutexGuard<'a, T>, at_most: Duration) -> MutexGuard<'a, T> {
        self.changed.wait_timeout(value, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}
