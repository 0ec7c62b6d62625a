//! Putting pairs into a node: as fast as it can, or at a rate.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::node::{Node, Request, WINDOW};
use crate::pairs::{Kind, Put, Puts};
use crate::table::grouped;
use crate::waits::Mark;

/// Puts of one request.
const AT_ONCE: u64 = 64;
/// The same when it is only a matter of having the pairs.
const LOADED_AT_ONCE: u64 = 512;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// Puts at a rate are appended in ticks of this length.
const TICK: Duration = Duration::from_millis(1);

/// Lines that say how far long work has come.
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    started: Instant,
    said: Instant,
}

impl Progress {
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        Self { what, total, started: Instant::now(), said: Instant::now() }
    }

    fn say(&self, done: u64) {
        let each = done as f64 / self.started.elapsed().as_secs_f64();
        let (done, total) = (grouped(done as f64), grouped(self.total as f64));
        println!("  {}: {done} of {total}, {}/s", self.what, grouped(each));
    }

    pub(crate) fn at(&mut self, done: u64) {
        if self.said.elapsed() >= PROGRESS || done == self.total {
            self.say(done);
            self.said = Instant::now();
        }
    }
}

impl Node {
    async fn put_some(&self, puts: Vec<Put>) {
        let count = u32::try_from(puts.len()).unwrap();
        let room = self.window.clone().acquire_many_owned(count).await.unwrap();
        let mark = Mark { intended: Instant::now(), count: count.into(), room: Some(room) };
        self.requests.send(Request { puts, mark }).await.unwrap();
    }

    /// Waits until the storage leaves its files alone, for a minute at most.
    pub(crate) async fn rest(&self) {
        const MAX_CHECKS: u32 = 30;
        let mut before = None;
        for _ in 0..MAX_CHECKS {
            let sizes = (self.sizes.log_bytes(), self.sizes.state_bytes());
            if before.replace(sizes) == Some(sizes) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// Waits until everything that was put as fast as possible is applied.
    async fn settle(&self) {
        drop(self.window.acquire_many(WINDOW).await.unwrap());
    }

    /// Puts each of `pairs` pairs once, far apart in the order of keys.
    pub(crate) async fn load(&self, pairs: u64, seed: u64) {
        // Blind whatever is measured: reading what is not there yet would only take time.
        let mut puts = Puts::new(Kind::Blind, seed);
        let mut progress = Progress::new("loading pairs", pairs);
        for first in (0..pairs).step_by(LOADED_AT_ONCE as usize) {
            let end = pairs.min(first + LOADED_AT_ONCE);
            self.put_some((first..end).map(|number| puts.of(number)).collect()).await;
            progress.at(end);
        }
        self.settle().await;
    }

    /// Puts any of `pairs` pairs, `count` times, as fast as it can.
    pub(crate) async fn put_any(&self, puts: &mut Puts, pairs: u64, count: u64) {
        let mut progress = Progress::new("random puts", count);
        for first in (0..count).step_by(AT_ONCE as usize) {
            let end = count.min(first + AT_ONCE);
            self.put_some((first..end).map(|_| puts.any(pairs)).collect()).await;
            progress.at(end);
        }
        self.settle().await;
    }

    /// Puts any of `pairs` pairs as fast as it can; answers puts per second.
    pub(crate) async fn max_rate(&self, puts: &mut Puts, pairs: u64, time: Duration) -> f64 {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed() < time {
            self.put_some((0..AT_ONCE).map(|_| puts.any(pairs)).collect()).await;
            count += AT_ONCE;
        }
        self.settle().await;
        count as f64 / started.elapsed().as_secs_f64()
    }

    /// Puts any of `pairs` pairs at `rate` a second. A put that comes late because the node is slow
    /// is still counted from when it was due.
    pub(crate) async fn put_at_rate(&self, puts: &mut Puts, pairs: u64, rate: f64, time: Duration) {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        loop {
            let due = ticks.tick().await.into_std();
            let elapsed = due.saturating_duration_since(started);
            if elapsed >= time {
                return;
            }
            let count = ((elapsed.as_secs_f64() * rate) as u64).saturating_sub(sent);
            if count > 0 {
                sent += count;
                let puts = (0..count).map(|_| puts.any(pairs)).collect();
                let mark = Mark { intended: due, count, room: None };
                self.requests.send(Request { puts, mark }).await.unwrap();
            }
        }
    }
}
