//! Signals: being asked to stop, and those that must not end a node.

use std::io::{self, Read as _};
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// What asks this process to stop: SIGTERM, SIGINT and, if wanted, the end of standard input.
pub struct StopRequests {
    terminate: Signal,
    interrupt: Signal,
    stdin_ended: Option<oneshot::Receiver<()>>,
}

impl StopRequests {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system refuses to deliver signals.
    pub fn listen(watch_stdin: bool) -> io::Result<Self> {
        outlive_signals()?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin_ended: watch_stdin.then(watch_stdin_end).transpose()?,
        })
    }

    /// Waits for the first request; answers what it was. The next one ends the process at once,
    /// with 1, after `at_once` was called: for as long as the runtime runs.
    pub async fn first(mut self, at_once: fn()) -> &'static str {
        let reason = self.next().await;
        tracing::info!("stopping: {reason}");
        tokio::spawn(exit_at_the_next(self, at_once));
        reason
    }

    /// Waits for the next request; answers what it was.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = ended(&mut self.stdin_ended) => "end of standard input",
        }
    }
}

/// A second request means that the stop takes too long.
async fn exit_at_the_next(mut requests: StopRequests, at_once: fn()) {
    let reason = requests.next().await;
    tracing::warn!("exiting at once: {reason} again");
    at_once();
    std::process::exit(1);
}

/// From now on the signals that end a process, and are no request to stop, do not end this one.
fn outlive_signals() -> io::Result<()> {
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::warn!("SIGHUP: ignored, there is nothing to reload (SIGTERM stops this node)");
        }
    });
    // A write beyond the limit of a file's size fails then, and the storage reports it like any
    // other. The handler stays when the value is dropped. Rust itself ignores SIGPIPE.
    drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
    Ok(())
}

/// Returns once standard input has ended: at most once, and never if it is not watched.
async fn ended(stdin: &mut Option<oneshot::Receiver<()>>) {
    match stdin {
        // The thread says nothing but that it ends.
        Some(receiver) => drop(receiver.await),
        None => std::future::pending().await,
    }
    *stdin = None;
}

/// A thread of its own reads: the runtime would wait for a read that never returns when it stops.
fn watch_stdin_end() -> io::Result<oneshot::Receiver<()>> {
    let (end, ended) = oneshot::channel::<()>();
    let watch = move || {
        let mut ignored = [0; 64];
        while io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        drop(end);
    };
    thread::Builder::new().name("stdin-watch".to_owned()).spawn(watch)?;
    Ok(ended)
}
