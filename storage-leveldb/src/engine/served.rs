//! An engine on a thread of its own that only reads it, for callers on any thread.
//!
//! Used by the log for segments that are not written any more, and for runs of engines that have
//! no runs of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::{Engine, KeyRange, Run, ScanLimit, panic_text};
use crate::error::StorageError;

/// Requests that wait for the thread; more wait for room.
const QUEUE_REQUESTS: usize = 64;

type Reply<T> = SyncSender<Result<T, StorageError>>;

/// A request, and where its answer goes.
enum Request {
    Get(Bytes, Reply<Option<Bytes>>),
    Scan(KeyRange, ScanLimit, Reply<Vec<(Bytes, Bytes)>>),
}

/// An open engine, whose thread serves one request after the other. Dropping this ends the thread
/// and waits for it, so that the engine is closed when the drop returns.
///
/// A panic of the engine is answered as an error, to this call and to all after it.
pub(crate) struct Served {
    sender: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Starts a thread named `name`, on which `open` opens the engine in `dir`.
    pub(crate) fn start(
        name: &str,
        dir: &Path,
        open: impl FnOnce(&Path) -> Result<Box<dyn Engine>, StorageError> + Send + 'static,
    ) -> Result<Self, StorageError> {
        let dir = dir.to_owned();
        let (sender, queue) = sync_channel(QUEUE_REQUESTS);
        let (opened, wait) = sync_channel(1);
        // The engine never leaves the thread that opens it.
        let serve = move || match answered(&dir, || open(&dir)) {
            Ok(engine) => {
                if opened.send(Ok(())).is_ok() {
                    Server { engine, dir, panicked: None }.serve(&queue);
                }
            }
            // The opener may be gone.
            Err(e) => drop(opened.send(Err(e))),
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(serve).map_err(|e| {
            tracing::error!(error = %e, name, "cannot start a storage thread");
            StorageError::Closed
        })?;
        let this = Self { sender: Some(sender), thread: Some(thread) };
        wait.recv().map_err(|_| StorageError::Closed)??;
        Ok(this)
    }

    fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StorageError> {
        let (done, answer) = sync_channel(1);
        let sender = self.sender.as_ref().ok_or(StorageError::Closed)?;
        sender.send(request(done)).map_err(|_| StorageError::Closed)?;
        answer.recv().map_err(|_| StorageError::Closed)?
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Run for Served {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.ask(|done| Request::Get(Bytes::copy_from_slice(key), done))
    }

    fn scan(&self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.ask(|done| Request::Scan(range.clone(), limit, done))
    }
}

/// What the thread has.
struct Server {
    engine: Box<dyn Engine>,
    dir: PathBuf,
    panicked: Option<StorageError>,
}

impl Server {
    fn serve(mut self, queue: &Receiver<Request>) {
        while let Ok(request) = queue.recv() {
            // The caller may have gone away.
            match request {
                Request::Get(key, done) => drop(done.send(self.call(|engine| engine.get(&key)))),
                Request::Scan(range, limit, done) => {
                    drop(done.send(self.call(|engine| engine.scan(&range, limit))));
                }
            }
        }
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Engine) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if let Some(error) = &self.panicked {
            return Err(error.clone());
        }
        let mut has_panicked = true;
        let result = answered(&self.dir, || {
            let result = call(self.engine.as_mut());
            has_panicked = false;
            result
        });
        if has_panicked {
            self.panicked = result.as_ref().err().cloned();
        }
        result
    }
}

/// What a call answers; an error if it panics.
pub(crate) fn answered<T>(
    dir: &Path,
    call: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        Err(StorageError::at(dir, format!("the thread that owns it panicked: {text}")))
    })
}
