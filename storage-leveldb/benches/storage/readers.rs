//! Threads of an application that read pairs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use storage_leveldb::StateReader;

use crate::latencies::{Latencies, Summary};
use crate::pairs::{Pairs, Types, key};
use crate::random::Random;

/// Readers draw other numbers than writers with the same seed.
const SALT: u64 = 0x7265_6164;

type Reader = StateReader<Types, Pairs>;

/// Which keys are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sought {
    /// Any of so many pairs.
    Hits(u64),
    /// Keys that are not there, spread among so many that are.
    Misses(u64),
}

/// What threads read.
pub(crate) struct Reads {
    pub(crate) latencies: Summary,
    pub(crate) per_second: f64,
}

/// Reads one pair, from a plain thread; the answer must be what it should be.
fn get(reader: &Reader, random: &mut Random, sought: Sought) {
    let number = match sought {
        Sought::Hits(pairs) => random.below(pairs),
        Sought::Misses(pairs) => pairs + random.below(pairs),
    };
    let found = reader.query_blocking(key(number)).unwrap();
    assert_eq!(found.is_some(), matches!(sought, Sought::Hits(_)), "pair {number}");
}

/// Reads as fast as `threads` threads can, for a while.
pub(crate) async fn read_fast(
    reader: &Reader,
    threads: usize,
    sought: Sought,
    seed: u64,
    time: Duration,
) -> Reads {
    let reader = reader.clone();
    let read = move || {
        let latencies: Vec<_> = (0..threads).map(|_| Latencies::default()).collect();
        let started = Instant::now();
        thread::scope(|scope| {
            for (thread, latencies) in latencies.iter().enumerate() {
                let mut random = Random::new(seed.wrapping_add(SALT + 1000 * thread as u64));
                let reader = &reader;
                scope.spawn(move || {
                    while started.elapsed() < time {
                        let began = Instant::now();
                        get(reader, &mut random, sought);
                        latencies.since(began, 1);
                    }
                });
            }
        });
        let took = started.elapsed();
        let mut all = Latencies::default().take();
        latencies.iter().for_each(|latencies| all.add(&latencies.take()));
        Reads { per_second: all.count() as f64 / took.as_secs_f64(), latencies: all }
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// A thread that reads at a rate. A read that comes late because the one before took long is
/// counted from when it was due.
pub(crate) struct PacedReader {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Summary>,
}

impl PacedReader {
    pub(crate) fn start(reader: &Reader, pairs: u64, per_second: u32, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (reader, stopped) = (reader.clone(), stop.clone());
        let read = move || {
            let latencies = Latencies::default();
            let mut random = Random::new(seed.wrapping_add(SALT));
            let mut due = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                due += Duration::from_secs(1) / per_second;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                get(&reader, &mut random, Sought::Hits(pairs));
                latencies.since(due, 1);
            }
            latencies.take()
        };
        Self { stop, thread: thread::spawn(read) }
    }

    pub(crate) async fn stop(self) -> Summary {
        self.stop.store(true, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || self.thread.join().unwrap()).await.unwrap()
    }
}
