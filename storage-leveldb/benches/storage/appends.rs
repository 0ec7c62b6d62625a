//! `appends`: durable appends per second by the number of concurrent appenders, against the bare
//! disk.
//!
//! An appender appends one entry, waits until it is durable, and appends the next. openraft calls
//! the log from one task, so here one task takes all that waits as one batch, appends it, and takes
//! the next without waiting for the flush; when a batch is flushed it tells its appenders.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::OneshotReceiverOf;
use storage_leveldb::observer::Db;
use storage_leveldb::{LogStore, Options, Storage};
use tokio::sync::{mpsc, oneshot};

use crate::args::Args;
use crate::bare_disk;
use crate::counts::Counts;
use crate::latencies::{Latencies, Summary};
use crate::pairs::{Kind, Pairs, Put, Puts, Types, entry};
use crate::requirement::Requirement;
use crate::table::{Table, grouped, median};
use crate::workspace::Workspace;

const APPENDERS: [usize; 5] = [1, 16, 64, 256, 1024];
const PAIRS: u64 = 5_000_000;
const ENTRIES_PER_BATCH: usize = 4096;

/// An entry to append, and whom to tell when it is durable.
type Append = (Put, oneshot::Sender<()>);

/// The task that owns the log.
struct Funnel {
    log: LogStore<Types>,
    next: u64,
}

type Flushed = OneshotReceiverOf<Types, Result<(), io::Error>>;

async fn flushed(pending: &mut VecDeque<(Flushed, Vec<oneshot::Sender<()>>)>) {
    match pending.front_mut() {
        Some((first, _)) => (&mut *first).await.unwrap().unwrap(),
        None => std::future::pending().await,
    }
}

impl Funnel {
    /// Serves until every appender is gone.
    async fn run(mut self, mut appends: mpsc::Receiver<Append>) -> Self {
        let mut pending = VecDeque::new();
        let mut some = Vec::new();
        let mut ended = false;
        while !ended || !pending.is_empty() {
            tokio::select! {
                biased;
                () = flushed(&mut pending) => {
                    let (_, waiting) = pending.pop_front().unwrap();
                    // An appender may have stopped waiting.
                    waiting.into_iter().for_each(|waiting| waiting.send(()).unwrap_or(()));
                }
                taken = appends.recv_many(&mut some, ENTRIES_PER_BATCH), if !ended => {
                    ended = taken == 0;
                    if !ended {
                        pending.push_back(self.append(&mut some).await);
                    }
                }
            }
        }
        self
    }

    async fn append(&mut self, some: &mut Vec<Append>) -> (Flushed, Vec<oneshot::Sender<()>>) {
        let (mut entries, mut waiting) = (Vec::new(), Vec::new());
        for (put, done) in some.drain(..) {
            entries.push(entry(self.next, put));
            self.next += 1;
            waiting.push(done);
        }
        let (done, flushed) = Types::oneshot();
        self.log.append(entries, IOFlushed::signal(done)).await.unwrap();
        (flushed, waiting)
    }
}

/// With some number of appenders.
struct Measured {
    per_second: f64,
    per_sync: f64,
    latencies: Summary,
}

async fn measure(
    funnel: Funnel,
    counts: &Counts,
    puts: &Puts,
    appenders: usize,
    time: Duration,
) -> (Funnel, Measured) {
    let (sender, appends) = mpsc::channel::<Append>(8192);
    let funnel = tokio::spawn(funnel.run(appends));
    let latencies = Arc::new(Latencies::default());
    let (syncs, appended) = (counts.syncs(Db::Log), counts.appended());
    let started = Instant::now();
    for appender in 0..appenders {
        let (sender, latencies) = (sender.clone(), latencies.clone());
        let mut puts = puts.for_appender(appender as u64);
        tokio::spawn(async move {
            while started.elapsed() < time {
                let began = Instant::now();
                let (done, durable) = oneshot::channel();
                sender.send((puts.any(PAIRS), done)).await.unwrap();
                durable.await.unwrap();
                latencies.since(began, 1);
            }
        });
    }
    drop(sender);
    let funnel = funnel.await.unwrap();
    let took = started.elapsed();
    let entries = (counts.appended() - appended) as f64;
    let syncs = (counts.syncs(Db::Log) - syncs).max(1) as f64;
    let latencies = latencies.take();
    (funnel, Measured { per_second: entries / took.as_secs_f64(), per_sync: entries / syncs, latencies })
}

/// Ratios and rates of one round that have a limit.
#[derive(Default)]
struct Figures {
    of_one_thread: Vec<f64>,
    per_sync: Vec<f64>,
    of_bare_sync: Vec<f64>,
}

pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    let time = Duration::from_secs(args.seconds(4));
    let mut figures = Figures::default();
    for round in 1..=args.rounds {
        println!("round {round}: {time:?} each, on a fresh storage, in this order");
        self::round(args, u64::from(round), time, &mut figures).await;
    }
    let mut requirements = Vec::new();
    if !figures.per_sync.is_empty() {
        let (per_sync, ratio) = (median(&figures.per_sync), median(&figures.of_one_thread));
        requirements.push(Requirement::at_least("appends: 256 appenders, per sync", per_sync, 25.0, ""));
        requirements.push(Requirement::at_least("appends: 256 appenders / one thread", ratio, 0.5, ""));
    }
    if !figures.of_bare_sync.is_empty() {
        let ratio = median(&figures.of_bare_sync);
        requirements.push(Requirement::less("appends: 1 appender / bare sync (p50)", ratio, 1.3, ""));
    }
    requirements
}

async fn round(args: &Args, round: u64, time: Duration, figures: &mut Figures) {
    let workspace = Workspace::new(args);
    let puts = Puts::new(Kind::Blind, args.seed + round);
    let counts = Counts::new();
    let mut options = Options::default();
    options.observer = counts.clone();
    let store = Storage::open(&workspace.join("storage"), Pairs, options).await.unwrap();
    let mut funnel = Funnel { log: store.log, next: 1 };
    let mut table = Table::new(["appenders", "appends/s", "per sync", "p50", "p99", "longest", "ratio"]);
    let ms = |value: f64| format!("{value:.2} ms");

    let path = workspace.join("bare");
    let bare = tokio::task::spawn_blocking(move || bare_disk::append_and_sync(&path, time)).await.unwrap();
    let rate = bare.count() as f64 / time.as_secs_f64();
    table.row([
        "bare 4 KiB + fdatasync".to_owned(),
        grouped(rate),
        "1.0".to_owned(),
        ms(bare.quantile_ms(0.5)),
        ms(bare.quantile_ms(0.99)),
        ms(bare.max_ms()),
        String::new(),
    ]);
    for appenders in args.threads(&APPENDERS) {
        // Right before what it is compared with.
        let mut one_thread = None;
        if appenders == 256 {
            let (path, mut puts) = (workspace.join("one-thread"), puts.clone());
            let write = move || bare_disk::one_thread(&path, &mut puts, PAIRS, time);
            let rate = tokio::task::spawn_blocking(write).await.unwrap();
            let [sync, none] = ["256.0".to_owned(), String::new()];
            let name = "one thread, 256 a sync".to_owned();
            table.row([name, grouped(rate), sync, none.clone(), none.clone(), none.clone(), none]);
            one_thread = Some(rate);
        }
        let measured;
        (funnel, measured) = measure(funnel, &counts, &puts, appenders, time).await;
        let mut ratio = String::new();
        if appenders == 1 {
            figures.of_bare_sync.push(measured.latencies.quantile_ms(0.5) / bare.quantile_ms(0.5));
            ratio = format!("{:.2} x bare p50", figures.of_bare_sync.last().unwrap());
        }
        if let Some(one_thread) = one_thread {
            figures.per_sync.push(measured.per_sync);
            figures.of_one_thread.push(measured.per_second / one_thread);
            ratio = format!("{:.2} x one thread", measured.per_second / one_thread);
        }
        table.row([
            appenders.to_string(),
            grouped(measured.per_second),
            format!("{:.1}", measured.per_sync),
            ms(measured.latencies.quantile_ms(0.5)),
            ms(measured.latencies.quantile_ms(0.99)),
            ms(measured.latencies.max_ms()),
            ratio,
        ]);
    }
    table.print();
    let rest = (funnel, store.state, store.reader);
    tokio::task::spawn_blocking(move || drop(rest)).await.unwrap();
}
