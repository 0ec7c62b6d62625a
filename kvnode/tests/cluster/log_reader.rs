//! Attacks a node through the reader of its log: a log driver, a shipper behind a pipe or a
//! terminal that takes nothing any more must cost lines and nothing else.

use std::io::{PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Cluster, ClusterOptions, Node, Series, beside_others, wait};
use rustix::process::Signal;

/// How long it may take until more lines wait than a node keeps.
const FILL_TIMEOUT: Duration = Duration::from_secs(60);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest a put may take meanwhile, an election included, which a busy machine may cause. A
/// node that waits for its reader answers nothing.
const MAX_PUT: Duration = Duration::from_secs(14);
/// How long a node may take to end. It waits half a second for its reader.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// Reads what a node prints, as long as it should.
struct Reader {
    reads: Arc<AtomicBool>,
    text: Arc<Mutex<String>>,
    _thread: JoinHandle<()>,
}

impl Reader {
    fn start(mut pipe: PipeReader) -> Self {
        let (reads, text) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<String>>::default());
        let (its_reads, its_text) = (Arc::clone(&reads), Arc::clone(&text));
        let read = move || {
            let mut buf = [0; 64 * 1024];
            loop {
                if !its_reads.load(Ordering::Relaxed) {
                    // Paces the thread only.
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
                match pipe.read(&mut buf) {
                    Ok(read) if read > 0 => {
                        its_text.lock().unwrap().push_str(&String::from_utf8_lossy(&buf[..read]));
                    }
                    _ => return,
                }
            }
        };
        Self { reads, text, _thread: std::thread::spawn(read) }
    }

    fn read(&self, reads: bool) {
        self.reads.store(reads, Ordering::Relaxed);
    }

    /// The `dropped` of all lines that tell of it.
    fn said(&self) -> u64 {
        let text = self.text.lock().unwrap();
        let lines = text.lines().filter(|line| line.contains("log lines were dropped"));
        lines.filter_map(|line| line.rsplit_once("dropped=")?.1.trim().parse::<u64>().ok()).sum()
    }
}

async fn dropped(node: &Node) -> Result<f64, String> {
    let (_, text) = node.http("/metrics").await?;
    Ok(Series::parse(&text).sum("log_lines_dropped_total", &[]))
}

/// Found: node 1's log was not read, and within a second all its threads waited in `write`: it led,
/// answered nothing, could not be stopped by SIGTERM, and its open sockets kept the others from
/// noticing. Now its puts go on, the lines that do not fit are counted and said once the reader
/// reads again, and SIGTERM ends it also while it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_reading_costs_lines_only() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let id = cluster.followers().await[0];
    assert!(cluster.node_mut(id).stop().await.success());
    cluster.node_mut(id).serve.flags.extend(["--log".to_owned(), "trace".to_owned()]);
    let (pipe, output) = std::io::pipe().unwrap();
    cluster.node_mut(id).start_into(OwnedFd::from(output));
    let reader = Reader::start(pipe);
    cluster.node_mut(id).up().await;
    lead(&cluster, id).await;

    reader.read(false);
    put_until_lines_are_dropped(&cluster, id).await;
    let (code, why) = cluster.node(id).http("/livez").await.unwrap();
    assert_eq!(code, 200, "{why}");

    reader.read(true);
    wait::until("every dropped line is told of", CHANGE_TIMEOUT, async || {
        let (said, counted) = (reader.said() as f64, dropped(cluster.node(id)).await?);
        wait::is(counted > 0.0 && said == counted, || format!("said {said}, counted {counted}"))
    })
    .await;

    reader.read(false);
    let before = dropped(cluster.node(id)).await.unwrap();
    put_until(&cluster, async || Ok(dropped(cluster.node(id)).await? > before)).await;
    let asked = Instant::now();
    assert!(cluster.node_mut(id).stop().await.success());
    assert!(asked.elapsed() < END_TIMEOUT, "SIGTERM took {:?}", asked.elapsed());
}

async fn lead(cluster: &Cluster, id: u64) {
    let client = cluster.client();
    wait::until("the node leads", CHANGE_TIMEOUT, async || {
        // Refused while it does not follow yet.
        drop(client.transfer_leader(id).await);
        wait::is(cluster.leader().await == id, || "another one leads".to_owned())
    })
    .await;
}

async fn put_until_lines_are_dropped(cluster: &Cluster, id: u64) {
    put_until(cluster, async || Ok(dropped(cluster.node(id)).await? > 0.0)).await;
}

/// Puts, none of which may take long.
async fn put_until(cluster: &Cluster, mut done: impl AsyncFnMut() -> Result<bool, String>) {
    const PUTS: usize = 50;
    let client = cluster.client();
    wait::until("the log is full", FILL_TIMEOUT, async || {
        for n in 0..PUTS {
            let asked = Instant::now();
            client.put("key", format!("{n}")).await.unwrap();
            assert!(asked.elapsed() < MAX_PUT, "a put took {:?}", asked.elapsed());
        }
        wait::is(done().await?, || "no line is dropped".to_owned())
    })
    .await;
}

/// What a node says last is written, also if it says much and its reader is slow: the end waits
/// for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_lines_are_written() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions { nodes: 1, ..ClusterOptions::default() });
    cluster.nodes[0].serve.flags.extend(["--log".to_owned(), "trace".to_owned()]);
    let (pipe, output) = std::io::pipe().unwrap();
    let node = &mut cluster.nodes[0];
    node.start_into(OwnedFd::from(output));
    let reader = Reader::start(pipe);
    node.up().await;
    reader.read(false);
    let pid = node.pid();
    crate::support::signal(pid, Signal::TERM);
    reader.read(true);
    assert!(node.stop().await.success());
    wait::until("the last word", CHANGE_TIMEOUT, async || {
        wait::is(reader.text.lock().unwrap().contains("INFO  stopped"), || "it is missing".to_owned())
    })
    .await;
}
