//! A record as one line of JSON in the Elastic Common Schema, names dotted.

use std::borrow::Cow;

use chrono::SecondsFormat;
use serde::Serialize;

use super::ecs::{CLUSTER_NAME, ECS_VERSION, Known};
use super::record::{EcsName, Record, Source, Value};

/// The line, with its newline. Time, level and message come first, for people.
pub(super) fn line(source: &Source, record: &Record) -> Vec<u8> {
    let mut object = Object(vec![b'{']);
    object.pair("@timestamp", &record.time.to_rfc3339_opts(SecondsFormat::Millis, true));
    object.pair("log.level", &record.level.as_str().to_ascii_lowercase());
    object.pair("message", &record.message);
    object.pair("ecs.version", ECS_VERSION);
    object.pair("service.name", source.service);
    object.pair("service.version", source.version);
    object.pair("service.node.name", &source.node);
    // For programs that tell streams of lines apart.
    object.pair("event.dataset", &source.own("log"));
    object.pair("log.logger", &record.logger);
    object.pair(&source.own(CLUSTER_NAME), &source.cluster);
    for entry in &record.fields {
        let EcsName::Known(name) = &entry.ecs else { continue };
        let name: Cow<'_, str> = match name {
            Known::Schema(name) => (*name).into(),
            Known::Own(name) => source.own(name).into(),
        };
        match &entry.value {
            Value::Text(text) => object.pair(&name, text),
            Value::Long(number) => object.pair(&name, number),
            Value::Boolean(flag) => object.pair(&name, flag),
        }
    }
    object.labels(record);
    object.0.extend_from_slice(b"}\n");
    object.0
}

/// The members written so far, from the opening brace on.
struct Object(Vec<u8>);

impl Object {
    fn pair<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if !self.0.ends_with(b"{") {
            self.0.push(b',');
        }
        self.value(name);
        self.0.push(b':');
        self.value(value);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let before = self.0.len();
        // Texts, numbers and flags always have a JSON form, and memory takes all bytes.
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(before);
            self.0.extend_from_slice(b"null");
        }
    }

    /// What is not listed: text in an object of its own.
    fn labels(&mut self, record: &Record) {
        let labels = record.fields.iter().filter_map(|entry| match (&entry.ecs, &entry.value) {
            (EcsName::Label(name), Value::Text(text)) => Some((name, text)),
            _ => None,
        });
        let labels: std::collections::BTreeMap<_, _> = labels.collect();
        if !labels.is_empty() {
            self.pair("labels", &labels);
        }
    }
}
