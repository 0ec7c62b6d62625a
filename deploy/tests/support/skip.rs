//! What a test does when the machine lacks something it needs.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Set to 1, a skipped test is a failed one.
const NO_SKIP_VARIABLE: &str = "KV_TESTS_NO_SKIP";
/// A program that may be missing all the same: where CI has no Docker daemon.
const MAY_LACK_VARIABLE: &str = "KV_TESTS_MAY_LACK";

/// Whether each of these command lines succeeds here. If not, says loudly that `test` is skipped,
/// or fails it.
pub fn unless_works(needs: &[&str], test: &str) -> bool {
    let Some(missing) = needs.iter().find(|line| !works(line)) else { return true };
    let text = format!("SKIPPED: {test} needs what '{missing}' shows to be here");
    let may_lack = std::env::var(MAY_LACK_VARIABLE).unwrap_or_default();
    let may_skip = std::env::var(NO_SKIP_VARIABLE).as_deref() != Ok("1")
        || (!may_lack.is_empty() && missing.starts_with(&may_lack));
    assert!(may_skip, "{text}, and {NO_SKIP_VARIABLE}=1");
    // Past the test harness, which does not show a passed test's output.
    drop(std::io::stderr().write_all(format!("\n{text}\n").as_bytes()));
    false
}

/// Whether a command line, split at spaces, succeeds.
pub fn works(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
