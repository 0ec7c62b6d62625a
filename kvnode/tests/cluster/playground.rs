//! Attacks the first command a stranger runs: what it starts, finds again, and leaves behind.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Process, beside_others, is_running, signal, wait};
use kvcli::{Client, ClientOptions, ReadMode};
use rustix::process::Signal;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A playground and what it printed. Invariant: once this is dropped, it has ended.
struct Playground {
    process: Process,
    endpoints: Vec<String>,
    children: Vec<u32>,
}

impl Playground {
    /// Starts it and waits until it says how to use it.
    async fn start(log: &Path, args: &[&str], nodes: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvnode"));
        command.arg("playground").args(args);
        let mut process = Process::start(&mut command, log);
        wait::until("the playground is up", START_TIMEOUT, async || {
            let output = process.output();
            assert!(process.exit_status().is_none(), "it ended:\n{output}");
            wait::is(output.contains("Ctrl-C stops"), || output)
        })
        .await;
        let output = process.output();
        println!("{output}");
        let line =
            output.lines().find_map(|line| line.trim().strip_prefix("export KVCLI_ENDPOINTS=")).unwrap();
        let endpoints: Vec<_> = line.split(',').map(str::to_owned).collect();
        let children = children_of(process.id());
        assert_eq!((endpoints.len(), children.len()), (nodes, nodes));
        Self { process, endpoints, children }
    }

    fn client(&self) -> Client {
        Client::connect(&self.endpoints, ClientOptions::default()).unwrap()
    }

    async fn children_end(&self) {
        wait::until("no process is left", STOP_TIMEOUT, async || {
            let left: Vec<_> = self.children.iter().filter(|pid| is_running(**pid)).collect();
            wait::is(left.is_empty(), || format!("{left:?}"))
        })
        .await;
    }
}

/// Up, used, and stopped by Ctrl-C with nothing left running; a second start in the same directory
/// finds its data; and when the playground itself is killed, its nodes follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playground_starts_stops_and_finds_its_data() {
    let _place = beside_others();
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("playground");
    let args = ["--dir", home.to_str().unwrap()];

    let mut first = Playground::start(&dir.path().join("first.log"), &args, 3).await;
    first.client().put("greeting", "hello").await.unwrap();
    signal(first.process.id(), Signal::INT);
    let status = first.process.ended(STOP_TIMEOUT).await;
    assert!(status.success(), "{status}:\n{}", first.process.output());
    first.children_end().await;

    let mut second = Playground::start(&dir.path().join("second.log"), &args, 3).await;
    assert_eq!(second.endpoints, first.endpoints);
    let pair = second.client().get("greeting", ReadMode::Linearizable).await.unwrap().pair;
    assert_eq!(pair.unwrap().value, "hello");
    second.process.kill();
    second.children_end().await;
}

/// Without `--dir`, nothing is left on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_playground_leaves_nothing_behind() {
    let _place = beside_others();
    let dir = tempfile::tempdir().unwrap();
    let mut playground = Playground::start(&dir.path().join("log"), &["--nodes", "1"], 1).await;
    playground.client().put("greeting", "hello").await.unwrap();
    let output = playground.process.output();
    let home = output
        .lines()
        .next()
        .and_then(|line| line.split(" in ").nth(1))
        .unwrap()
        .trim_end_matches(" …")
        .to_owned();
    assert!(Path::new(&home).is_dir(), "{home}");
    signal(playground.process.id(), Signal::TERM);
    assert!(playground.process.ended(STOP_TIMEOUT).await.success());
    playground.children_end().await;
    assert!(!Path::new(&home).exists(), "{home} is still there");
}

/// `kvnode playground | head -3` took the cluster down with a panic and a backtrace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playground_outlives_whoever_read_what_it_prints() {
    let _place = beside_others();
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("playground");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvnode"));
    command.args(["playground", "--nodes", "1", "--dir", home.to_str().unwrap()]).stdout(Stdio::piped());
    let mut playground = Killed(command.spawn().unwrap());
    let mut first = String::new();
    BufReader::new(playground.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("Starting 1 node"), "{first}");
    wait::until("the node serves", START_TIMEOUT, async || {
        let ended = playground.0.try_wait().unwrap();
        assert!(ended.is_none(), "the playground ended: {ended:?}");
        wait::is(is_up(&home).await, || "not yet".to_owned())
    })
    .await;
    signal(playground.0.id(), Signal::INT);
    wait::until("the playground ends", STOP_TIMEOUT, async || {
        let ended = playground.0.try_wait().unwrap();
        assert!(ended.is_none_or(|status| status.success()), "{ended:?}");
        wait::is(ended.is_some(), || "it runs".to_owned())
    })
    .await;
}

/// Does not outlive the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the only node of the playground in `home` takes a write.
async fn is_up(home: &Path) -> bool {
    let settings = std::fs::read_to_string(home.join("playground.toml")).unwrap_or_default();
    let client = settings.lines().find_map(|line| line.trim().strip_prefix("client = "));
    let Some(port) = client else { return false };
    let client = Client::connect(&[format!("127.0.0.1:{port}")], ClientOptions::default()).unwrap();
    client.put("greeting", "hello").await.is_ok()
}

/// Every process whose parent is `parent`.
fn children_of(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // PID (NAME) STATE PARENT …
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    processes.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// With `--tls` every port is encrypted, clients need the certificate that it names, and a second
/// start finds the same certificates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playground_with_tls_is_encrypted_throughout() {
    let _place = beside_others();
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("playground");
    let args = ["--tls", "--dir", home.to_str().unwrap()];
    let certificates = home.join("certificates");
    let file = |name: &str| certificates.join(name);
    let tls = kvcli::ClientTls {
        ca: file("ca.pem"),
        identity: Some((file("client-you.pem"), file("client-you-key.pem"))),
    };
    let mut ca = None;
    for log in ["first.log", "second.log"] {
        let mut playground = Playground::start(&dir.path().join(log), &args, 3).await;
        let options = ClientOptions { tls: Some(tls.clone()), ..ClientOptions::default() };
        let client = Client::connect(&playground.endpoints, options).unwrap();
        client.put("greeting", log).await.unwrap();
        let plain = playground.client().with_timeout(Duration::from_secs(1));
        plain.get("greeting", ReadMode::Stale).await.unwrap_err();
        let found = std::fs::read(file("ca.pem")).unwrap();
        assert_eq!(*ca.get_or_insert(found.clone()), found);
        assert!(playground.process.output().contains("https://127.0.0.1:"));
        signal(playground.process.id(), Signal::INT);
        assert!(playground.process.ended(STOP_TIMEOUT).await.success(), "{}", playground.process.output());
        playground.children_end().await;
    }
}
