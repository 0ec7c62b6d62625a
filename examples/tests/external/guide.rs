//! Runs the commands of docs/guide/running-a-cluster.md and of the README's program as a reader
//! would, in their order. They need curl.
//!
//! Blocks marked `background` start a node, in place of the one of that id if there is one;
//! every line of a block marked `sh run` must succeed. The addresses of the page are replaced by
//! free ones.
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output};

use crate::support::{hold_port, until};
use rustix::process::{Pid, Signal, kill_process};

const RUNNING: &str = include_str!("../../../docs/guide/running-a-cluster.md");
const README: &str = include_str!("../../../README.md");
/// Ids that the page uses.
const IDS: u64 = 5;
/// What waits for nodes to listen, or is a verdict about the moment.
const PATIENT: [&str; 4] =
    ["kvcli cluster init", "kvcli cluster add-learner", "kvcli cluster status", "kvcli health"];

/// The fenced blocks of a page with their marks, in their order.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let inside = page.split("\n```").skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').unwrap()).collect()
}

/// The page's addresses, and what is in their place.
fn addresses() -> BTreeMap<String, String> {
    let places: Vec<_> = (1..=IDS).flat_map(|id| [7000, 7100, 7200].map(|base| base + id)).collect();
    // All are bound before any is given back: they differ.
    let free: Vec<_> = places.iter().map(|_| hold_port()).collect();
    let place = |(place, free): (&u64, &TcpListener)| {
        (format!("127.0.0.1:{place}"), free.local_addr().unwrap().to_string())
    };
    places.iter().zip(&free).map(place).collect()
}

/// A reader at work.
struct Reader<'a> {
    home: &'a Path,
    addresses: BTreeMap<String, String>,
    nodes: BTreeMap<String, Child>,
}

impl Reader<'_> {
    fn shell(&self, line: &str) -> Command {
        let line = self.addresses.iter().fold(line.to_owned(), |line, (page, real)| line.replace(page, real));
        let programs = Path::new(env!("CARGO_BIN_EXE_queue")).parent().unwrap();
        let kvcli = programs.join("kvcli");
        assert!(
            kvcli.exists(),
            "{} is missing; run: cargo build --release -p kvnode-client",
            kvcli.display()
        );
        let path = std::env::var("PATH").unwrap();
        let endpoints: Vec<_> =
            (1..=3).map(|id| self.addresses[&format!("127.0.0.1:{}", 7000 + id)].as_str()).collect();
        let mut command = Command::new("sh");
        command.args(["-ec", &line]).current_dir(self.home);
        command.env("PATH", format!("{}:{path}", programs.display()));
        command.env("KVCLI_ENDPOINTS", endpoints.join(","));
        command
    }

    fn run(&self, line: &str) -> String {
        let Output { status, stdout, stderr } = self.shell(line).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{line}: {status}\n{stdout}\n{stderr}");
        stdout.into_owned()
    }

    /// Run again until it succeeds: the nodes may still be starting.
    fn run_patiently(&self, line: &str) -> String {
        until(line, || {
            let Output { status, stdout, stderr } = self.shell(line).output().unwrap();
            let text = String::from_utf8_lossy(&stdout).into_owned();
            if status.success() { Ok(text) } else { Err(String::from_utf8_lossy(&stderr).into_owned()) }
        })
    }

    /// Starts the node of a block, after SIGTERM to the one of that id.
    fn serve(&mut self, block: &str) {
        let line = block.replace("\\\n", "");
        let id = line.split_once("--id ").unwrap().1.split(' ').next().unwrap().to_owned();
        self.stop(&id, Signal::TERM);
        let child = self.shell(&format!("exec {line}")).spawn().unwrap();
        self.nodes.insert(id, child);
    }

    fn stop(&mut self, id: &str, signal: Signal) {
        let Some(mut child) = self.nodes.remove(id) else { return };
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() || signal == Signal::KILL, "node {id}: {status}");
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        for child in self.nodes.values_mut() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[test]
fn the_commands_about_running_a_cluster_work_in_their_order() {
    let home = tempfile::tempdir().unwrap();
    let mut reader = Reader { home: home.path(), addresses: addresses(), nodes: BTreeMap::new() };
    let mut printed = BTreeMap::new();
    for (mark, text) in blocks(RUNNING) {
        match mark {
            "sh background" => reader.serve(text.trim()),
            "sh run" => {
                for line in text.lines().filter(|line| !line.is_empty()) {
                    if line == "kvcli cluster remove 3" {
                        reader.stop("3", Signal::KILL);
                    }
                    let patient = PATIENT.iter().any(|begin| line.starts_with(begin));
                    let text = if patient { reader.run_patiently(line) } else { reader.run(line) };
                    printed.insert(line, text);
                }
            }
            // Building, which was done before this runs.
            "sh" => assert!(text.starts_with("cargo build --release"), "{text}"),
            _ => panic!("a block that nothing runs: {mark}"),
        }
    }
    assert!(printed["kvcli cluster status"].contains("3 of 3 voters answer"), "{printed:#?}");
    let metrics = &printed["curl --fail --silent http://127.0.0.1:7201/metrics"];
    for (mark, _) in RUNNING.split("| `queue_").skip(1).filter_map(|row| row.split_once(['{', '`'])) {
        let series = format!("\nqueue_{mark}");
        // On the leader only.
        assert!(metrics.contains(&series) || mark == "member_problems", "{series}: {metrics}");
    }
    for id in ["1", "2", "5"] {
        reader.stop(id, Signal::TERM);
    }
}

#[test]
fn the_program_of_the_readme_does_what_it_says() {
    let home = tempfile::tempdir().unwrap();
    let mut reader = Reader { home: home.path(), addresses: addresses(), nodes: BTreeMap::new() };
    let mut printed = Vec::new();
    for (mark, text) in blocks(README) {
        match mark {
            "sh counters background" => reader.serve(text.trim()),
            "sh counters" => printed.extend(text.lines().map(|line| reader.run_patiently(line))),
            _ => {}
        }
    }
    let [_, written, read] = &printed[..] else { panic!("not three commands: {printed:?}") };
    assert!(written.contains('5') && read.contains('5'), "{printed:?}");
    reader.stop("1", Signal::TERM);
}
