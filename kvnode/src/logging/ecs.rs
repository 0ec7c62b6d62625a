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
const HEAD: [(&str, Kind); 10] = [
    ("@timestamp", Kind::Date),
    ("ecs.version", Text),
    ("event.dataset", Text),
    ("kvnode.cluster_name", Text),
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

/// Our own fields, all below one name; the place that logs leaves that name out.
const OWN: [(&str, Kind); 22] = [
    ("kvnode.client_addr", Text),
    ("kvnode.client_id", Text),
    ("kvnode.code", Text),
    ("kvnode.data_dir", Text),
    ("kvnode.dropped", Long),
    ("kvnode.endpoint", Text),
    ("kvnode.forwarded", Boolean),
    ("kvnode.http_addr", Text),
    ("kvnode.lane", Text),
    ("kvnode.leader", Long),
    ("kvnode.log_index", Long),
    ("kvnode.node", Long),
    ("kvnode.peer", Text),
    ("kvnode.peers", Text),
    ("kvnode.role", Text),
    ("kvnode.sequence", Long),
    ("kvnode.suppressed", Long),
    ("kvnode.term", Long),
    ("kvnode.thread", Text),
    ("kvnode.to", Long),
    ("kvnode.unreachable", Text),
    ("kvnode.voters", Text),
];
const NAMESPACE: &str = "kvnode.";

/// Names that read better at the place that logs and in text lines.
const SHORT: [(&str, &str); 7] = [
    ("error", "error.message"),
    ("reason", "error.message"),
    ("path", "file.path"),
    ("clients", "kvnode.client_addr"),
    ("http", "kvnode.http_addr"),
    ("data", "kvnode.data_dir"),
    ("name", "kvnode.thread"),
];

/// The type of a field, if a line may have it.
#[cfg(test)]
pub(super) fn kind_of(name: &str) -> Option<Kind> {
    HEAD.iter().chain(&SCHEMA).chain(&OWN).find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// Every name that a line may have.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HEAD.iter().chain(&SCHEMA).chain(&OWN).map(|(name, _)| *name)
}

/// Where a field of an event belongs, if it is listed. `ours`: the event is from this repository's
/// crates, so that a word of openraft's is not taken for one of ours.
pub(super) fn place(field: &str, ours: bool) -> Option<(&'static str, Kind)> {
    let full = SHORT.iter().find(|(short, _)| *short == field && (ours || *short == "error"));
    let field = full.map_or(field, |(_, full)| full);
    let own = OWN.iter().filter(|_| ours || full.is_some());
    let known = SCHEMA.iter().chain(own);
    known.copied().find(|(name, _)| *name == field || name.strip_prefix(NAMESPACE) == Some(field))
}
