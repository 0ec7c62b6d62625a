//! Threads that do nothing but wake up each millisecond, one on each processor, which it never
//! leaves. How late it is, is for how long at least that processor ran nothing of this process,
//! whether the rest of the machine had it or the host: what runs there waits as long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::latencies::{Latencies, Summary};
use crate::process;

const NAP: Duration = Duration::from_millis(1);

/// Processors that are looked at, at most.
const MAX_PROCESSORS: usize = 16;

pub(crate) struct Sleepers {
    stop: Arc<AtomicBool>,
    threads: Vec<(usize, JoinHandle<Summary>)>,
    stolen_before: Duration,
}

impl Sleepers {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let allowed = sched_getaffinity(None).unwrap();
        let processors = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor));
        let start = |processor| {
            let stop = stop.clone();
            (processor, thread::spawn(move || sleep(processor, &stop)))
        };
        let threads = processors.take(MAX_PROCESSORS).map(start).collect();
        Self { stop, threads, stolen_before: process::stolen() }
    }

    /// How late each was, by the processor's number, and how much processor time the host took away
    /// meanwhile.
    pub(crate) fn stop(self) -> (Vec<(usize, Summary)>, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let late = self.threads.into_iter().map(|(processor, thread)| (processor, thread.join().unwrap()));
        (late.collect(), process::stolen() - self.stolen_before)
    }
}

fn sleep(processor: usize, stop: &AtomicBool) -> Summary {
    let mut here = CpuSet::new();
    here.set(processor);
    sched_setaffinity(None, &here).unwrap();
    let late = Latencies::default();
    while !stop.load(Ordering::Relaxed) {
        let due = Instant::now() + NAP;
        thread::sleep(NAP);
        late.since(due, 1);
    }
    late.take()
}
