//! The examples on the framework stay as short as they promise.
/// Lines of code besides the types, `apply` and `query`.
const MAX_OTHER_LINES: usize = 40;

const EXAMPLES: [(&str, &str); 4] = [
    ("locks", include_str!("../../src/bin/locks.rs")),
    ("queue", include_str!("../../src/bin/queue.rs")),
    ("ledger", include_str!("../../src/bin/ledger.rs")),
    ("web", include_str!("../../src/bin/web.rs")),
];

/// What is not the application: imports before its first type, and from the arguments on how the
/// node is started and served.
fn other_lines(source: &str) -> usize {
    let before = source.split("#[derive(Debug, Serialize").next().unwrap();
    let (_, after) = source.split_once("#[derive(Parser)]").unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    // The derive itself is a line, too.
    before.lines().chain(after.lines()).filter(is_code).count() + 1
}

#[test]
fn what_is_not_the_application_is_short() {
    for (name, source) in EXAMPLES {
        let lines = other_lines(source);
        println!("{name}: {lines}");
        assert!((10..=MAX_OTHER_LINES).contains(&lines), "{name}: {lines} lines");
    }
}
