//! One event, collected and bounded, before it is a line.

use std::fmt;
use std::time::SystemTime;

use crate::NodeId;
use chrono::{DateTime, Utc};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

use super::ecs::{self, Kind, Known};

/// Longest message. A line stays well below 16 KiB, where container runtimes cut lines apart.
const MAX_MESSAGE_BYTES: usize = 4096;
/// Longest text in any other field.
const MAX_TEXT_BYTES: usize = 1024;
/// Most of a stack trace.
const MAX_STACK_BYTES: usize = 4096;
/// Most fields of one event; further ones are left out.
const MAX_FIELDS: usize = 24;

/// What an event says.
///
/// Invariants: names in `fields` are distinct; a value has the type that `ecs` has for its name; no
/// text is longer than its bound.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) time: DateTime<Utc>,
    pub(super) level: Level,
    /// The module, or the dependency's.
    pub(super) logger: String,
    pub(super) message: String,
    pub(super) fields: Vec<Entry>,
    /// Of this crate or the service: a person need not be told which module.
    pub(super) is_of_the_node: bool,
    ours: bool,
    /// Through the `log` crate, which puts its metadata into fields.
    from_log: bool,
}

/// One field.
#[derive(Debug)]
pub(super) struct Entry {
    /// As the place that logged has it.
    pub(super) name: &'static str,
    /// As the schema has it.
    pub(super) ecs: EcsName,
    pub(super) value: Value,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum EcsName {
    Known(Known),
    /// Below `labels`, dots replaced.
    Label(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Long(i64),
    Boolean(bool),
}

/// Whose lines these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub(super) service: &'static str,
    pub(super) version: &'static str,
    pub(super) node: String,
    pub(super) cluster: String,
}

impl Source {
    /// Node `id` of `cluster`, run by the program `service` of this version. Fields that the schema
    /// has not are below that name, so it is none of the schema's own (`event`, `log`, `service`).
    #[must_use]
    pub fn new(service: &'static str, version: &'static str, id: NodeId, cluster: &str) -> Self {
        Self { service, version, node: id.to_string(), cluster: cluster.to_owned() }
    }

    /// A name below the service's.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.service)
    }
}

impl Record {
    /// `service`: the program's name, which its own crate has, too.
    pub(super) fn of(event: &Event<'_>, service: &str) -> Self {
        let metadata: &Metadata<'_> = event.metadata();
        let target = metadata.target();
        let root = target.split("::").next().unwrap_or_default();
        let is_of_the_node = root == "raftnode" || root == service.replace('-', "_");
        let mut record = Self {
            // `Utc::now` panics where the clock is before 1970.
            time: SystemTime::now().into(),
            level: *metadata.level(),
            logger: target.to_owned(),
            message: String::new(),
            fields: Vec::new(),
            is_of_the_node,
            ours: is_of_the_node || matches!(root, "storage_leveldb" | "network_grpc"),
            from_log: target == "log",
        };
        event.record(&mut record);
        if record.message.is_empty() {
            metadata.name().clone_into(&mut record.message);
        }
        record
    }

    #[cfg(test)]
    pub(super) fn new(
        time: DateTime<Utc>,
        level: Level,
        logger: &str,
        message: &str,
        fields: Vec<(&'static str, EcsName, Value)>,
    ) -> Self {
        let (logger, message) = (logger.to_owned(), message.to_owned());
        let fields = fields.into_iter().map(|(name, ecs, value)| Entry { name, ecs, value }).collect();
        Self { time, level, logger, message, fields, is_of_the_node: true, ours: true, from_log: false }
    }

    fn add(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if self.from_log && name.starts_with("log.") {
            if let ("log.target", Value::Text(target)) = (name, value) {
                self.logger = target;
            }
            return;
        }
        if name == "message" {
            self.message = bounded(value.into_text(), MAX_MESSAGE_BYTES);
            return;
        }
        if self.fields.len() < MAX_FIELDS {
            let entry = self.entry(name, value);
            self.fields.push(entry);
        }
    }

    /// Under its name with its type, or as text among the labels.
    fn entry(&self, name: &'static str, value: Value) -> Entry {
        let free = |ecs: &EcsName| self.fields.iter().all(|entry| entry.ecs != *ecs);
        if let Some((known, kind)) = ecs::place(name, self.ours)
            && free(&EcsName::Known(known))
            && let Some(value) = value.clone().into_kind(kind, longest(known))
        {
            return Entry { name, ecs: EcsName::Known(known), value };
        }
        let mut label = name.replace('.', "_");
        while !free(&EcsName::Label(label.clone())) {
            label.push('_');
        }
        Entry {
            name,
            ecs: EcsName::Label(label),
            value: Value::Text(bounded(value.into_text(), MAX_TEXT_BYTES)),
        }
    }
}

fn longest(name: Known) -> usize {
    if name == Known::Schema("error.stack_trace") { MAX_STACK_BYTES } else { MAX_TEXT_BYTES }
}

fn bounded(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Long(number) => number.to_string(),
            Self::Boolean(flag) => flag.to_string(),
        }
    }

    /// None: it cannot be one.
    fn into_kind(self, kind: Kind, longest: usize) -> Option<Self> {
        match (kind, self) {
            (Kind::Text, value) => Some(Self::Text(bounded(value.into_text(), longest))),
            (Kind::Long, Self::Text(text)) => text.parse().ok().map(Self::Long),
            (Kind::Long, value @ Self::Long(_)) | (Kind::Boolean, value @ Self::Boolean(_)) => Some(value),
            _ => None,
        }
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Long(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        // The schema's numbers are signed.
        self.add(field, i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Long));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Boolean(value));
    }
}
