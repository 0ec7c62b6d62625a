//! What a test does when the machine lacks something it needs.

use std::process::Command;

/// Set to 1, a skipped test is a failed one.
const NO_SKIP_VARIABLE: &str = "KV_TESTS_NO_SKIP";

/// Whether `program` can be run here. If not, says loudly that `test` is skipped, or fails it.
pub fn unless_found(program: &str, test: &str) -> bool {
    if Command::new(program).arg("-V").output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    let text = format!("SKIPPED: {test} needs {program}");
    assert!(std::env::var(NO_SKIP_VARIABLE).as_deref() != Ok("1"), "{text}, and {NO_SKIP_VARIABLE}=1");
    // Past the test harness, which shows a passed test's output to nobody.
    let line = format!("\n{text}\n");
    drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()));
    false
}
