//! A thread that owns something single-threaded and serves a queue. Used by the log and the state
//! machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use crate::disk::GuardedDisk;
use crate::engine::panic_text;
use crate::error::StorageError;

/// Runs what a thread does for the database in `dir`. A panic is a fault of the storage: whoever
/// waits for the thread would otherwise only learn that it is closed.
pub(crate) fn latching(disk: &GuardedDisk, dir: &Path, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        disk.damaged(dir, format!("the thread that owns it panicked: {}", panic_text(&*panic)));
    }
}

/// The sending side of the queue. Dropping the last one ends the thread and waits for it, so that
/// what it owns is closed when the drop returns.
pub(crate) struct OwnerThread<T> {
    sender: Option<mpsc::Sender<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> OwnerThread<T> {
    /// Starts a thread named `name`. `open` runs on it and answers a value for the caller and
    /// what to run; this returns when `open` has.
    ///
    /// # Errors
    /// What `open` answers; [`StorageError::Closed`] if it panicked or no thread could be started.
    pub(crate) fn start<V, R>(
        name: &str,
        sender: mpsc::Sender<T>,
        open: impl FnOnce() -> Result<(V, R), StorageError> + Send + 'static,
    ) -> Result<(Self, V), StorageError>
    where
        V: Send + 'static,
        R: FnOnce(),
    {
        let (opened, wait) = std::sync::mpsc::sync_channel(1);
        let body = move || match open() {
            Ok((value, run)) => {
                if opened.send(Ok(value)).is_ok() {
                    run();
                }
            }
            // The opener may be gone.
            Err(e) => drop(opened.send(Err(e))),
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| {
            tracing::error!(error = %e, name, "cannot start a storage thread");
            StorageError::Closed
        })?;
        let value = wait.recv().map_err(|_| StorageError::Closed)??;
        Ok((Self { sender: Some(sender), thread: Some(thread) }, value))
    }

    /// Queues `message`, waiting for room.
    ///
    /// # Errors
    /// [`StorageError::Closed`] if the thread has ended.
    pub(crate) async fn send(&self, message: T) -> Result<(), StorageError> {
        let sender = self.sender.as_ref().ok_or(StorageError::Closed)?;
        sender.send(message).await.map_err(|_| StorageError::Closed)
    }
}

impl<T> Drop for OwnerThread<T> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) =
            self.thread.take().filter(|thread| thread.thread().id() != thread::current().id())
        {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}
