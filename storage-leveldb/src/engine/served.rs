//! An engine on a thread of its own, for callers on any thread.
//!
//! Used by the log for the databases it writes, and for tables of engines that have no tables of
//! their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Batch, Durability, Engine, Table, panic_text};
use crate::disk::time_syncing;
use crate::error::StorageError;
use crate::health::{Fault, FaultKind};
use crate::owned_thread::OwnedThread;
use crate::scan::{KeyRange, ScanLimit};

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

/// Makes writes on the thread of an engine, as they come.
pub(crate) trait WriteSource: Send {
    /// Ready when [`write`](Self::write) is to be called; else the context's waker is called then.
    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Makes one write at most. `None`: this engine gets no more of them.
    fn write(self: Box<Self>, write: WriteCall<'_>) -> Option<Box<dyn WriteSource>>;
}

/// An open engine, whose thread serves one request after the other. Dropping this ends the thread
/// and waits for it, so that the engine is closed when the drop returns.
///
/// A panic of the engine is answered as an error, to that request and to all after it.
///
/// No more requests wait than there are threads that ask: each waits for its answer.
pub(crate) struct Served {
    queue: UnboundedSender<Request>,
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
        let (queue, requests) = unbounded_channel();
        let (opened, wait) = sync_channel(1);
        // The engine never leaves the thread that opens it.
        let serve = move || match answered(&dir, || open(&dir)) {
            Ok(engine) => {
                if opened.send(Ok(())).is_ok() {
                    Server { engine, dir, panicked: None, writes: None }.serve(requests);
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

    /// Has `source` make its writes on this thread. No other source does any more.
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

/// Wakes the thread of an engine.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
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
    fn serve(mut self, mut queue: UnboundedReceiver<Request>) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            let request = queue.poll_recv(&mut context);
            let due = self.writes.as_mut().map_or(Poll::Pending, |source| source.poll_due(&mut context));
            if request.is_pending() && due.is_pending() {
                thread::park();
                continue;
            }
            // One request, then one write: neither waits for more than one of the other.
            match request {
                Poll::Ready(Some(request)) => self.answer(request),
                Poll::Ready(None) => return,
                Poll::Pending => {}
            }
            if let Some(source) = self.writes.take_if(|_| due.is_ready()) {
                self.writes = source.write(&mut |batch, durability| self.write(batch, durability));
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
                debug_assert!(self.writes.is_none(), "another source makes writes");
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
