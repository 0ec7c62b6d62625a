//! The series that an expression of Prometheus asks for. What stands behind an `or` answers for a
//! name that is misspelt, so the expression as a whole does not show it.

/// Words of the language before whose brackets there is no function, and those that stand alone.
const WORDS: [&str; 14] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "atan2",
    "inf",
    "nan",
];
/// Behind these, brackets hold names of labels.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Every name of a series in the expression with the labels that are asked of it, as `name{…}`.
pub fn selectors(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            rest = rest[1..].split_once(first).map_or("", |(_, after)| after);
        } else if first == '[' {
            rest = rest.split_once(']').map_or("", |(_, after)| after);
        } else if is_part(first) {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            let next = after.trim_start();
            if GROUPINGS.contains(&word) {
                rest = next.split_once(')').map_or(next, |(_, after)| after);
            } else if next.starts_with('{') {
                let end = end_of_labels(next);
                found.push(format!("{word}{}", &next[..end]));
                rest = &next[end..];
            } else if !next.starts_with('(')
                && !WORDS.contains(&word)
                && !first.is_ascii_digit()
                && !is_aggregation(word)
            {
                found.push(word.to_owned());
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// `sum by (a) (…)`: what names a function has the grouping before its brackets.
fn is_aggregation(word: &str) -> bool {
    ["sum", "max", "min", "avg", "count", "quantile", "topk", "bottomk", "stddev", "group"].contains(&word)
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '.'
}

/// Behind the bracket that ends the labels; there may be one in a text.
fn end_of_labels(text: &str) -> usize {
    let mut quoted = false;
    let end = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '}' && !quoted
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[test]
fn names_are_told_from_functions_labels_and_numbers() {
    for (expression, expected) in [
        ("(count(up{job=\"kvnode\"}) or vector(0)) == 0", vec!["up{job=\"kvnode\"}"]),
        (
            "histogram_quantile(0.99, sum by (op, le) (rate(a_bucket{x=~\"b|c}\"}[5m]))) / 1e3",
            vec!["a_bucket{x=~\"b|c}\"}"],
        ),
        (
            "cluster:a:max - on (cluster) group_left (x) cluster:b:sum > 0",
            vec!["cluster:a:max", "cluster:b:sum"],
        ),
        ("sum (a) or 0 * sum by (i) (b {c=\"d\"})\n + time()", vec!["a", "b{c=\"d\"}"]),
    ] {
        let found = selectors(expression);
        let found: Vec<_> = found.iter().map(|selector| selector.replace(" {", "{")).collect();
        assert_eq!(found, expected, "{expression}");
    }
}
