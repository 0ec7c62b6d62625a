//! A thread that works for the value that owns it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::{self, JoinHandle};

use crate::disk::GuardedDisk;
use crate::engine::panic_text;
use crate::error::StorageError;

/// Runs what a thread does for the database in `dir`. A panic is a fault of the storage: a caller
/// that waits for the thread would otherwise only learn that it is closed. `None`: it panicked.
pub(crate) fn latching<T>(disk: &GuardedDisk, dir: &Path, body: impl FnOnce() -> T) -> Option<T> {
    let latch = |panic: Box<dyn Any + Send>| {
        disk.damaged(dir, format!("the thread that owns it panicked: {}", panic_text(&*panic)));
    };
    catch_unwind(AssertUnwindSafe(body)).map_err(latch).ok()
}

/// Dropping this waits for the thread, so that what the thread owns is closed when the drop
/// returns. The owner has it end before: it drops the thread's queue, which is declared before
/// this field, or tells it to stop.
pub(crate) struct OwnedThread(Option<JoinHandle<()>>);

impl OwnedThread {
    /// Starts a thread named `name`.
    ///
    /// # Errors
    /// [`StorageError::Closed`] if the system starts none.
    pub(crate) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<Self, StorageError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| {
            tracing::error!(error = %e, name, "cannot start a storage thread");
            StorageError::Closed
        })?;
        Ok(Self(Some(thread)))
    }

    /// The same for a thread that works on the database in `dir`, of which a panic is a fault.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub(crate) fn latching(
        name: &str,
        disk: &GuardedDisk,
        dir: &Path,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Self, StorageError> {
        let (disk, dir) = (disk.clone(), dir.to_owned());
        Self::start(name, move || {
            latching(&disk, &dir, body);
        })
    }

    /// Whether waiting for it takes no time.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for OwnedThread {
    fn drop(&mut self) {
        // The last handle of a storage may be dropped by one of its own threads.
        let other = self.0.take().filter(|thread| thread.thread().id() != thread::current().id());
        if let Some(thread) = other {
            // The panic hook has reported a panic of the thread.
            let _ = thread.join();
        }
    }
}
