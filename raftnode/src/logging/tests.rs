//! Attacks the shape of lines: whatever an event carries, one line comes out, and an index can take
//! it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use tracing_subscriber::layer::SubscriberExt as _;

use super::ecs::{self, Kind, Known};
use super::layer::Lines;
use super::record::{EcsName, Record, Value};
use super::{LogFormat, Source, text};

/// The schema's rows for the names that we use.
const SCHEMA: &str = include_str!("../../tests/ecs-9.4.0.csv");

/// What `log` logs, as lines.
fn lines(format: LogFormat, log: impl FnOnce()) -> String {
    let written = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&written);
    let write = move |line: Vec<u8>| sink.lock().unwrap().extend_from_slice(&line);
    let lines = Lines { format, source: Source::new("app", "1.2.3", 7, "test"), colour: false, write };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
    let bytes = written.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// The members of an object in their order, twins included.
struct Members(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// One line of valid JSON, every member of a listed name and type, none twice.
fn checked(line: &str) -> BTreeMap<String, Json> {
    let line = line.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "{line}");
    assert!(line.len() < 16 * 1024, "{} bytes", line.len());
    let Members(members) = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let count = members.len();
    for (name, value) in &members {
        let own = name.strip_prefix("app.").map(ecs::own_kind);
        let fits = match own.unwrap_or_else(|| ecs::kind_in_schema(name)) {
            Some(Kind::Text) => value.is_string(),
            Some(Kind::Date) => value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z')),
            Some(Kind::Long) => value.is_i64(),
            Some(Kind::Boolean) => value.is_boolean(),
            None => {
                name == "labels"
                    && value.as_object().unwrap().iter().all(|(name, v)| v.is_string() && !name.contains('.'))
            }
        };
        assert!(fits, "{name}: {value} in {line}");
    }
    let members: BTreeMap<_, _> = members.into_iter().collect();
    assert_eq!(members.len(), count, "a name twice: {line}");
    members
}

fn one(log: impl FnOnce()) -> BTreeMap<String, Json> {
    checked(&lines(LogFormat::Json, log))
}

/// The table in the program says what the schema says, and everything else is below our one name.
#[test]
fn names_and_types_are_those_of_the_schema() {
    let mut rows = 0;
    for row in SCHEMA.lines().filter(|row| !row.starts_with('#')) {
        let (name, kind) = row.split_once(',').unwrap();
        let expected = match kind {
            "keyword" | "match_only_text" | "wildcard" => Some(Kind::Text),
            "long" => Some(Kind::Long),
            "date" => Some(Kind::Date),
            "object" => None,
            other => panic!("{other}"),
        };
        assert_eq!(ecs::kind_in_schema(name), expected, "{name}");
        rows += 1;
    }
    // `labels` is in the schema and in no table of ours.
    assert_eq!(ecs::names_in_schema(), rows - 1);
}

#[test]
fn a_line_has_what_every_line_has_and_the_events_own() {
    let line =
        one(|| tracing::warn!(peer = 2, error = "refused", term = 7_u64, forwarded = true, "peer is away"));
    for (name, value) in [
        ("log.level", "warn"),
        ("message", "peer is away"),
        ("ecs.version", "9.4.0"),
        ("service.name", "app"),
        ("service.version", "1.2.3"),
        ("service.node.name", "7"),
        ("event.dataset", "app.log"),
        ("log.logger", "raftnode::logging::tests"),
        ("app.cluster_name", "test"),
        ("app.peer", "2"),
        ("error.message", "refused"),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!((&line["app.term"], &line["app.forwarded"]), (&Json::from(7), &Json::from(true)));
}

/// What a peer or a client sent can be in any text: it must not become a line, a member or an
/// escape sequence.
#[test]
fn hostile_texts_stay_in_their_field() {
    let hostile = "x\"}\n{\"log.level\":\"error\",\u{1b}[2J\u{0}\u{2028}\\";
    let line = one(|| tracing::info!(error = hostile, "{hostile}"));
    assert_eq!((&line["message"], &line["error.message"]), (&Json::from(hostile), &Json::from(hostile)));
    let text = lines(LogFormat::Text, || tracing::info!(error = hostile, "{hostile}"));
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{2028}') && !text.contains('\u{0}'), "{text:?}");
}

/// A name that is taken, a type that does not fit, a name of the head, a nested name, a number
/// without a JSON form: the value is kept as text among the labels.
#[test]
fn what_does_not_fit_is_a_label() {
    let line = one(|| {
        tracing::info!(
            error = "first",
            reason = "second",
            term = "not a number",
            log.level = "forged",
            service.name = "forged",
            a.b.c = 1,
            number = f64::NAN,
            sequence = u64::MAX,
            forwarded = 3,
            "m"
        );
    });
    assert_eq!((&line["error.message"], &line["log.level"]), (&Json::from("first"), &Json::from("info")));
    let labels = line["labels"].as_object().unwrap();
    for (name, value) in [
        ("reason", "second"),
        ("term", "not a number"),
        ("log_level", "forged"),
        ("service_name", "forged"),
        ("a_b_c", "1"),
        ("number", "NaN"),
        ("sequence", "18446744073709551615"),
        ("forwarded", "3"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
}

/// openraft's `id` is not our id, and its `term` may be anything; lines that come through the `log`
/// crate name their source in a field.
#[test]
fn lines_of_dependencies_are_valid_too() {
    let line =
        one(|| tracing::error!(target: "openraft::core", id = ?Some(7), term = 3, error = "e", "state"));
    assert_eq!(
        (&line["log.logger"], &line["error.message"]),
        (&Json::from("openraft::core"), &Json::from("e"))
    );
    assert_eq!(line["labels"], serde_json::json!({ "id": "Some(7)", "term": "3" }));
    assert!(!line.contains_key("app.term"));
    let line = one(|| tracing::info!(target: "log", { log.target = "h2::proto", log.line = 7 }, "frame"));
    assert_eq!(line["log.logger"], "h2::proto");
    let line = one(|| tracing::info!(x = 1));
    assert!(!line["message"].as_str().unwrap().is_empty());
}

#[test]
fn a_line_is_bounded() {
    let long = "\u{1}é".repeat(100_000);
    let line = lines(LogFormat::Json, || tracing::info!(peer = long, "{long}"));
    // A control character takes six bytes in JSON.
    assert!(line.len() < 6 * 6000, "{} bytes", line.len());
    let line = one(|| tracing::info!(error = "é".repeat(100_000), "{}", "é".repeat(100_000)));
    assert!(line["message"].as_str().unwrap().ends_with('…'));
}

#[test]
fn text_stands_in_columns() {
    let record = |level, message: &str, fields| {
        let time = chrono::DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        Record::new(time, level, "raftnode::node", message, fields)
    };
    let took =
        vec![("event.duration", EcsName::Known(Known::Schema("event.duration")), Value::Long(1_234_567))];
    let peer = vec![("peer", EcsName::Known(Known::Own("peer")), Value::Text("a b=\"c\"".into()))];
    let lines = [
        record(tracing::Level::INFO, "stopped", Vec::new()),
        record(tracing::Level::WARN, "slow request", took),
        record(tracing::Level::ERROR, "peer is away", peer),
    ]
    .map(|record| text::line_in_utc(&record));
    assert_eq!(
        lines.concat(),
        "2023-11-14 22:13:20.123 INFO  stopped\n\
         2023-11-14 22:13:20.123 WARN  slow request                              event.duration=1.2ms\n\
         2023-11-14 22:13:20.123 ERROR peer is away                              peer=\"a b=\\\"c\\\"\"\n"
    );
}

/// The hook belongs to the process: for threads without a subscriber, as those of other tests, it
/// does what it did.
#[test]
fn a_panic_is_a_line_with_its_place() {
    super::panic::install();
    let line = one(|| drop(std::panic::catch_unwind(|| panic!("out of {}", "cheese")).unwrap_err()));
    assert_eq!(
        (&line["error.type"], &line["error.message"]),
        (&Json::from("panic"), &Json::from("out of cheese"))
    );
    assert_eq!(line["log.origin.file.name"], file!());
    assert!(line["log.origin.file.line"].as_i64().unwrap() > 0);
}
