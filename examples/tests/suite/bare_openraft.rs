//! The example without the framework tells its story to a good end, and stays as short as it
//! promises.
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// Code lines, without blank ones and comments.
const MAX_LINES: usize = 99;

#[test]
fn the_story_ends_well() {
    let mut queue = Command::new(env!("CARGO_BIN_EXE_bare_openraft"))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let started = Instant::now();
    // The story is far shorter than a pipe's buffer, so it may be read after the end.
    let status = loop {
        if let Some(status) = queue.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > DEADLINE {
            queue.kill().unwrap();
            panic!("the story did not end within {DEADLINE:?}");
        }
        thread::sleep(POLL);
    };
    let mut told = String::new();
    queue.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(status.success(), "{status}; it told:\n{told}");
    assert_eq!(told.lines().last(), Some("all is well: nothing lost, nothing out of order"), "{told}");
}

#[test]
fn it_is_under_a_hundred_lines() {
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = include_str!("../../src/bin/bare_openraft.rs").lines().filter(is_code).count();
    assert!(lines <= MAX_LINES, "{lines} lines of code");
}
