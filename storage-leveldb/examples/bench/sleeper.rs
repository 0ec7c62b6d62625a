//! A thread that does nothing but wake up each millisecond. How late it is, is what any thread has to wait for a processor, whether
//! the others of this process have it, the rest of the machine, or the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::latencies::{Latencies, Summary};
use crate::process;

const NAP: Duration = Duration::from_millis(1);

pub(crate) struct Sleeper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Summary>,
    stolen_before: Duration,
}

impl Sleeper {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let its_stop = stop.clone();
        let thread = thread::spawn(move || {
            let late = Latencies::default();
            while !its_stop.load(Ordering::Relaxed) {
                let due = Instant::now() + NAP;
                thread::sleep(NAP);
                late.since(due, 1);
            }
            late.take()
        });
        Self { stop, thread, stolen_before: process::stolen() }
    }

    /// How late it was, and how much processor time the host took away meanwhile.
    pub(crate) fn stop(self) -> (Summary, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        (self.thread.join().unwrap(), process::stolen() - self.stolen_before)
    }
}
