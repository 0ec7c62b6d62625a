//! The thread that writes lines to standard error, and the end of the process, which waits for it
//! a little.

use std::io::{self, ErrorKind, Write as _};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use prometheus::core::Collector;

use super::queue::{FLUSH_TIMEOUT, LineQueue};

/// Between two attempts on a standard error that takes nothing now and was made not to block by a
/// process that shares it.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// There from when logging is set up, for the rest of the process.
static QUEUE: OnceLock<LineQueue> = OnceLock::new();

/// Waits, when it is dropped, until the lines are written, for [`FLUSH_TIMEOUT`] at most.
#[derive(Debug)]
#[must_use = "lines that wait are lost if the process ends without it"]
pub struct FlushAtEnd(());

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        flush();
    }
}

/// Starts the thread. A second call starts none.
///
/// # Errors
/// If the system gives no thread.
pub(super) fn start() -> io::Result<FlushAtEnd> {
    if QUEUE.set(LineQueue::new().map_err(io::Error::other)?).is_ok()
        && let Some(queue) = QUEUE.get()
    {
        thread::Builder::new().name("log-writer".to_owned()).spawn(|| run(queue))?;
    }
    Ok(FlushAtEnd(()))
}

/// Hands a line, with its newline, to the thread. Without one the line is lost.
pub(super) fn push(line: Vec<u8>) {
    if let Some(queue) = QUEUE.get() {
        queue.push(line);
    }
}

/// Says something outside of the log, where the log's filter lets no error through.
pub fn say(text: &str) {
    match QUEUE.get() {
        Some(queue) => queue.push(format!("{text}\n").into_bytes()),
        None => eprintln!("{text}"),
    }
}

/// Waits until the lines are written, for [`FLUSH_TIMEOUT`] at most. To be called before the
/// process exits in any way that drops nothing.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.wait_until_empty(FLUSH_TIMEOUT);
    }
}

/// The series of dropped lines, for [`Builder::metrics`](crate::Builder::metrics).
///
/// # Errors
/// Its name is not one, which is a mistake in this crate.
pub fn collectors() -> prometheus::Result<[Box<dyn Collector>; 1]> {
    let counter = match QUEUE.get() {
        Some(queue) => queue.dropped().clone(),
        // A test's, without a log of its own.
        None => LineQueue::new()?.dropped().clone(),
    };
    Ok([Box::new(counter)])
}

fn run(queue: &LineQueue) {
    loop {
        let line = queue.next();
        if write(&line).is_err() {
            queue.lost();
        } else if let Some(dropped) = queue.take_unsaid() {
            tracing::warn!(dropped, "log lines were dropped: standard error took none for a while");
        }
    }
}

/// One line in one piece, as far as the reader takes it so.
fn write(mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match io::stderr().lock().write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_PAUSE),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
