//! What a test does when the machine lacks something it needs.

use std::process::Command;

use super::SmallDisk;

/// Set to 1, a skipped test is a failed one.
const NO_SKIP_VARIABLE: &str = "KV_TESTS_NO_SKIP";

/// Whether `program` can be run here. If not, says loudly that `test` is skipped, or fails it.
pub fn unless_found(program: &str, test: &str) -> bool {
    unless_answers(program, "-V", test)
}

/// The same, for a program that says its version when asked with `flag`. Some would run for ever
/// with another.
pub fn unless_answers(program: &str, flag: &str, test: &str) -> bool {
    unless_runs(program, &[flag], test)
}

/// The same, for a program that ends well with these arguments if it has all that is needed.
pub fn unless_runs(program: &str, args: &[&str], test: &str) -> bool {
    let found = Command::new(program).args(args).output().is_ok_and(|output| output.status.success());
    found || skipped(&format!("{test} needs {program} {}", args.join(" ")))
}

/// Whether a file system can be mounted here; else the same.
pub fn unless_mountable(test: &str) -> bool {
    match SmallDisk::is_possible() {
        Ok(()) => true,
        Err(reason) => skipped(&format!("{test} must mount a tmpfs: {reason}")),
    }
}

/// Always false.
fn skipped(why: &str) -> bool {
    let text = format!("SKIPPED: {why}");
    assert!(std::env::var(NO_SKIP_VARIABLE).as_deref() != Ok("1"), "{text}, and {NO_SKIP_VARIABLE}=1");
    // Past the test harness, which does not show a passed test's output.
    let line = format!("\n{text}\n");
    drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()));
    false
}
