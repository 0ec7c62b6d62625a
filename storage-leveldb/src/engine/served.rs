//! An engine on a thread of its own, for callers on any thread.
//!
//! Used by the log for the databases it writes, and for tables of engines that have no tables of
//! their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Batch, Durability, Engine, Table, panic_text};
use crate::disk::time_syncing;
use crate::error::StorageError;
use crate::health::{Fault, FaultKind};
use crate::owned_thread::OwnedThread;
use crate::scan::{KeyRange, ScanLimit};

/// Requests that wait for the thread; more wait for room.
const QUEUE_REQUESTS: usize = 64;

type Reply<T> = SyncSender<Result<T, StorageError>>;

/// A request, and where its answer goes.
enum Request {
    Get(Bytes, Reply<Option<Bytes>>),
    Scan(KeyRange, ScanLimit, Reply<Vec<(Bytes, Bytes)>>),
    Write(Batch, Durability, Reply<()>),
    Writes(Box<dyn WriteSource>),
    Reserve(u64, Reply<()>),
}

/// What a write took, apart from the waiting for the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteTime {
    /// All of it.
    pub(crate) total: Duration,
    /// Of this, the time that files took to be synced.
    pub(crate) syncing: Duration,
}

/// Writes a batch, as [`Engine::write`] does.
pub(crate) type WriteCall<'a> = &'a mut dyn FnMut(Batch, Durability) -> Result<WriteTime, StorageError>;

/// Writes whose content is known only when the engine is free for the next one.
pub(crate) trait WriteSource: Send {
    /// Makes one write. `false`: there was none to be made, and the engine asks no more.
    fn write_next(&mut self, write: WriteCall<'_>) -> bool;
}

/// An open engine, whose thread serves one request after the other. Dropping this ends the thread
/// and waits for it, so that the engine is closed when the drop returns.
///
/// A panic of the engine is answered as an error, to that request and to all after it.
pub(crate) struct Served {
    queue: SyncSender<Request>,
    _thread: OwnedThread,
}

impl Served {
    /// Starts a thread named `name`, on which `open` opens the engine in `dir`.
    pub(crate) fn start(
        name: &str,
        dir: &Path,
        open: impl FnOnce(&Path) -> Result<Box<dyn Engine>, StorageError> + Send + 'static,
    ) -> Result<Self, StorageError> {
        let dir = dir.to_owned();
        let (queue, requests) = sync_channel(QUEUE_REQUESTS);
        let (opened, wait) = sync_channel(1);
        // The engine never leaves the thread that opens it.
        let serve = move || match answered(&dir, || open(&dir)) {
            Ok(engine) => {
                if opened.send(Ok(())).is_ok() {
                    Server { engine, dir, panicked: None, writes: None }.serve(&requests);
                }
            }
            // The opener may be gone.
            Err(e) => drop(opened.send(Err(e))),
        };
        let this = Self { queue, _thread: OwnedThread::start(name, serve)? };
        wait.recv().map_err(|_| StorageError::Closed)??;
        Ok(this)
    }

    fn begin(&self, request: Request) -> Result<(), StorageError> {
        self.queue.send(request).map_err(|_| StorageError::Closed)
    }

    fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StorageError> {
        let (done, answer) = sync_channel(1);
        self.begin(request(done))?;
        answer.recv().map_err(|_| StorageError::Closed)?
    }

    /// As [`Engine::write`].
    pub(crate) fn write(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        self.ask(|done| Request::Write(batch, durability, done))
    }

    /// Makes the writes of `source` until it has none. No other source has any left.
    pub(crate) fn begin_writes(&self, source: Box<dyn WriteSource>) -> Result<(), StorageError> {
        self.begin(Request::Writes(source))
    }

    /// As [`Engine::reserve`].
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), StorageError> {
        self.ask(|done| Request::Reserve(bytes, done))
    }
}

impl Table for Served {
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
    writes: Option<Box<dyn WriteSource>>,
}

impl Server {
    fn serve(mut self, queue: &Receiver<Request>) {
        loop {
            // One request between two writes of a source: neither waits for more than one of the
            // other.
            if self.writes.is_some() {
                queue.try_recv().into_iter().for_each(|request| self.answer(request));
            } else {
                let Ok(request) = queue.recv() else { return };
                self.answer(request);
            }
            if let Some(mut source) = self.writes.take()
                && source.write_next(&mut |batch, durability| self.write(batch, durability))
            {
                self.writes = Some(source);
            }
        }
    }

    fn answer(&mut self, request: Request) {
        // The caller may have gone away.
        match request {
            Request::Get(key, done) => drop(done.send(self.call(|engine| engine.get(&key)))),
            Request::Scan(range, limit, done) => {
                drop(done.send(self.call(|engine| engine.scan(&range, limit))));
            }
            Request::Write(batch, durability, done) => {
                drop(done.send(self.write(batch, durability).map(drop)));
            }
            Request::Writes(source) => {
                debug_assert!(self.writes.is_none(), "another source has writes left");
                self.writes = Some(source);
            }
            Request::Reserve(bytes, done) => {
                drop(done.send(self.call(|engine| engine.reserve(bytes))));
            }
        }
    }

    fn write(&mut self, batch: Batch, durability: Durability) -> Result<WriteTime, StorageError> {
        let (started, synced_before) = (Instant::now(), time_syncing());
        self.call(|engine| engine.write(batch, durability))?;
        let syncing = time_syncing() - synced_before;
        Ok(WriteTime { total: started.elapsed(), syncing })
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
fn answered<T>(dir: &Path, call: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        Err(Fault::new(FaultKind::Io, dir, format!("the thread that owns it panicked: {text}")).into())
    })
}
