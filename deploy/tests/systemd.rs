//! Attacks the unit: a line that systemd does not know is only a warning there, and a sandbox that
//! is too tight only shows in production.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Child, alone, built, is, output, programs, repository, run, until};

/// Tenths: systemd calls 0 to 2 fine.
const MAX_EXPOSURE_TENTHS: u32 = 20;
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The unit as it would be installed, with the program that cargo has built.
fn unit(dir: &Path) -> std::path::PathBuf {
    let text = std::fs::read_to_string(repository("deploy/systemd/kvnode.service")).unwrap();
    let installed = dir.join("kvnode.service");
    let kvnode = programs().join("kvnode");
    std::fs::write(&installed, text.replace("/usr/local/bin/kvnode", kvnode.to_str().unwrap())).unwrap();
    installed
}

#[test]
fn systemd_accepts_the_unit_and_finds_little_exposed() {
    let dir = tempfile::tempdir().unwrap();
    let unit = unit(dir.path());
    let verified = run(Command::new("systemd-analyze").arg("verify").arg(&unit));
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{}", verified.stdout);
    let threshold = format!("--threshold={MAX_EXPOSURE_TENTHS}");
    output(Command::new("systemd-analyze").args(["security", "--offline=true", &threshold]).arg(&unit));
}

/// Every option in the file is known and well formed: the node gets as far as its first socket,
/// whose address is no one's here.
#[test]
fn kvnode_accepts_the_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = repository("deploy/systemd/kvnode.toml");
    let ended =
        run(built("kvnode").args(["serve", "--config"]).arg(config).arg("--data-dir").arg(dir.path()));
    assert!(ended.code == Some(1) && ended.stderr.contains("cannot listen on 10.0.0.1:7001"), "{ended:?}");
}

/// What the filter of the unit refuses is not what kvnode asks of the kernel while it starts, is
/// written to, read, builds a snapshot, is scraped and stops.
#[test]
fn the_system_call_filter_lets_through_what_kvnode_needs() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    use_a_node(dir.path(), &trace);
    let used = used(&std::fs::read_to_string(&trace).unwrap());
    let refused = &(&group("@privileged") | &group("@resources"));
    let allowed = &group("@system-service") - refused;
    assert!(used.contains("fdatasync") && used.contains("accept4"), "the trace is not of kvnode: {used:?}");
    let stopped: Vec<_> = used.difference(&allowed).collect();
    assert!(stopped.is_empty(), "kvnode needs {stopped:?}, which the unit's SystemCallFilter refuses");
}

fn use_a_node(dir: &Path, trace: &Path) {
    let [client, raft, http] = free_ports();
    let peers = format!("1=127.0.0.1:{raft}/127.0.0.1:{client}");
    let mut strace = Command::new("strace");
    // -D makes the node, not strace, this process's child.
    strace.args(["-D", "-f", "-o"]).arg(trace).arg(programs().join("kvnode")).arg("serve");
    for (flag, port) in [("--client-addr", client), ("--raft-addr", raft), ("--http-addr", http)] {
        strace.args([flag, &format!("127.0.0.1:{port}")]);
    }
    strace
        .args(["--id", "1", "--peers", &peers, "--snapshot-entries", "100", "--data-dir"])
        .arg(dir.join("data"));
    let mut node = Child::start(&mut strace, &dir.join("log"));
    let kvcli = |line: &str| {
        let mut command = built("kvcli");
        command.args(["--endpoints", &format!("127.0.0.1:{client}")]).args(line.split(' '));
        command
    };
    until("the node listens", START_TIMEOUT, || {
        let ended = run(&mut kvcli("cluster init"));
        is(ended.code == Some(0), || format!("{ended:?}"))
    });
    output(&mut kvcli("bench put --clients 4 --ops 400"));
    output(&mut kvcli("scan --prefix bench --limit 10"));
    until("it is scraped", START_TIMEOUT, || crate::support::get(&format!("127.0.0.1:{http}"), "/metrics"));
    output(Command::new("kill").args(["-TERM", &node.id().to_string()]));
    until("it has stopped", START_TIMEOUT, || is(node.has_ended(), || "it runs".to_owned()));
    let complete = || std::fs::read_to_string(trace).is_ok_and(|text| text.trim_end().ends_with("+++"));
    until("strace has written everything", START_TIMEOUT, || is(complete(), || "it has not".to_owned()));
}

/// Free now. Below the range that outgoing connections are given, others than this test seldom take
/// one.
fn free_ports() -> [u16; 3] {
    let start = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut free = (start..).filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    std::array::from_fn(|_| free.next().unwrap())
}

/// The names in a trace: `THREAD NAME(ARGUMENTS…`.
fn used(trace: &str) -> BTreeSet<String> {
    let call = |line: &str| Some(line.split_once(' ')?.1.trim_start().split_once('(')?.0.to_owned());
    let is_name = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    trace.lines().filter_map(call).filter(is_name).collect()
}

/// The system calls of one of systemd's groups, and of the groups in it.
fn group(name: &str) -> BTreeSet<String> {
    let text = output(Command::new("systemd-analyze").args(["syscall-filter", name]));
    let lines = text.lines().filter(|line| line.starts_with(' ')).map(str::trim);
    lines
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| if line.starts_with('@') { group(line) } else { BTreeSet::from([line.to_owned()]) })
        .collect()
}
