//! What our fields are called in the Elastic Common Schema, and which type each has.
//!
//! An index has ONE type per field: a line that says `id: 7` after one that said `id: "a"` is
//! refused as a whole. So a name is used only with the type it has here, and everything that is not
//! listed (fields of openraft, tonic and the like) is text below `labels`, which the schema keeps
//! for that.
//!
//! Names and types of the schema's own fields are those of `tests/ecs-9.4.0.csv`, which says where
//! they are from.

/// The version of the schema that the lines follow.
pub(super) const ECS_VERSION: &str = "9.4.0";

/// What a value has to be. The schema's `match_only_text` and `wildcard` are text here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Long,
    /// True or false.
    Boolean,
    /// A time in UTC, RFC 3339.
    #[cfg(test)]
    Date,
}

use Kind::{Boolean, Long, Text};

/// What every line says about itself, written by `json`; no event may set these.
#[cfg(test)]
const HEAD: [(&str, Kind); 9] = [
    ("@timestamp", Kind::Date),
    ("ecs.version", Text),
    ("event.dataset", Text),
    ("log.level", Text),
    ("log.logger", Text),
    ("message", Text),
    ("service.name", Text),
    ("service.node.name", Text),
    ("service.version", Text),
];

/// The schema's fields that an event may have.
const SCHEMA: [(&str, Kind); 13] = [
    ("error.message", Text),
    ("error.stack_trace", Text),
    ("error.type", Text),
    ("event.action", Text),
    ("event.duration", Long),
    ("event.kind", Text),
    ("event.outcome", Text),
    ("file.path", Text),
    ("log.origin.file.line", Long),
    ("log.origin.file.name", Text),
    ("process.thread.name", Text),
    ("span.id", Text),
    ("trace.id", Text),
];

/// Our own fields. In a line they are below the service's name, as in `service.term`.
const OWN: [(&str, Kind); 22] = [
    ("client_addr", Text),
    ("client_id", Text),
    ("code", Text),
    ("data_dir", Text),
    ("dropped", Long),
    ("endpoint", Text),
    ("forwarded", Boolean),
    ("http_addr", Text),
    ("lane", Text),
    ("leader", Long),
    ("log_index", Long),
    ("node", Long),
    ("peer", Text),
    ("peers", Text),
    ("role", Text),
    ("sequence", Long),
    ("suppressed", Long),
    ("term", Long),
    ("thread", Text),
    ("to", Long),
    ("unreachable", Text),
    ("voters", Text),
];
/// What every line says below the service's name; no event may set it.
pub(super) const CLUSTER_NAME: &str = "cluster_name";

/// Names that read better at the place that logs and in text lines.
const SHORT: [(&str, &str); 7] = [
    ("error", "error.message"),
    ("reason", "error.message"),
    ("path", "file.path"),
    ("clients", "client_addr"),
    ("http", "http_addr"),
    ("data", "data_dir"),
    ("name", "thread"),
];

/// The type of a field of the schema, if a line may have it.
#[cfg(test)]
pub(super) fn kind_in_schema(name: &str) -> Option<Kind> {
    HEAD.iter().chain(&SCHEMA).find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// The type of a field of our own.
#[cfg(test)]
pub(super) fn own_kind(name: &str) -> Option<Kind> {
    let own = OWN.iter().chain(&[(CLUSTER_NAME, Text)]);
    own.clone().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// How many names of the schema a line may have.
#[cfg(test)]
pub(super) fn names_in_schema() -> usize {
    HEAD.len() + SCHEMA.len()
}

/// A listed name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Of the schema.
    Schema(&'static str),
    /// Below the service's name.
    Own(&'static str),
}

/// Where a field of an event belongs, if it is listed. `ours`: the event is from this repository's
/// crates or the service, so that a word of openraft's is not taken for one of ours.
pub(super) fn place(field: &str, ours: bool) -> Option<(Known, Kind)> {
    let full = SHORT.iter().find(|(short, _)| *short == field && (ours || *short == "error"));
    let field = full.map_or(field, |(_, full)| full);
    let of = |table: &[(&'static str, Kind)]| table.iter().copied().find(|(name, _)| *name == field);
    let own = || of(&OWN).filter(|_| ours || full.is_some());
    let schema = of(&SCHEMA).map(|(name, kind)| (Known::Schema(name), kind));
    schema.or_else(|| own().map(|(name, kind)| (Known::Own(name), kind)))
}
