//! The README and docs/guide/embedding.md show code that is compiled and run here.

const EMBEDDING: &str = include_str!("../../../docs/guide/embedding.md");
const README: &str = include_str!("../../../README.md");
const COUNTERS: &str = include_str!("../../src/bin/counters.rs");
/// What the second page quotes.
const SOURCES: [&str; 4] = [
    include_str!("../../src/bin/web.rs"),
    include_str!("one_process.rs"),
    include_str!("../../../kvnode/src/api/service.rs"),
    include_str!("../../../kvnode/src/api/session.rs"),
];

/// The fenced blocks of a page with their marks, in their order.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let inside = page.split("\n```").skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').unwrap()).collect()
}

/// Code without what depends on the width of lines.
fn squeezed(code: &str) -> String {
    let code: String = code.split_whitespace().collect();
    code.replace(",)", ")")
}

#[test]
fn the_program_of_the_readme_is_the_example() {
    let shown: Vec<_> = blocks(README).into_iter().filter(|(mark, _)| mark.starts_with("rust")).collect();
    let code = COUNTERS.split_once("\n\n").unwrap().1.trim_end();
    assert_eq!(shown, [("rust", code)]);
    let lines = code.lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= 30, "{lines} lines");
}

#[test]
fn what_the_page_about_embedding_shows_is_code_that_runs() {
    let quoted: Vec<_> = blocks(EMBEDDING).into_iter().filter(|(mark, _)| mark.starts_with("rust")).collect();
    assert!(quoted.len() >= 4, "{quoted:?}");
    for (_, code) in quoted {
        let found = SOURCES.iter().any(|source| squeezed(source).contains(&squeezed(code)));
        assert!(found, "in no source:\n{code}");
    }
}
