//! What a backup's header says, for people and for programs.

use kvcli::wire::node::BackupHeader;
use serde_json::{Value, json};

use crate::json;
use crate::output;
use crate::units;

pub(super) fn text(header: &BackupHeader, bytes: u64) -> String {
    let members: Vec<_> = header.members.iter().map(|member| member.id.to_string()).collect();
    let mut lines = vec![
        ("cluster", format!("{} ({})", shown(&header.cluster_id), shown(&header.cluster_name))),
        ("application", format!("{}, schema {}", shown(&header.application), header.schema)),
        ("saved", units::utc(header.created_unix_ms)),
        ("saved by", format!("node {}, version {}", header.node_id, shown(&header.version))),
        ("last log entry", format!("{}.{}.{}", header.log_term, header.log_leader, header.log_index)),
        ("commands", units::thousands(header.position)),
    ];
    lines.extend(header.revision.map(|revision| ("revision", units::thousands(revision))));
    lines.push(("members", members.join(", ")));
    lines.push(("file", units::bytes(bytes)));
    let lines: Vec<_> = lines.into_iter().map(|(name, value)| format!("{name:<14}  {value}")).collect();
    lines.join("\n")
}

/// A file may come from anywhere.
fn shown(text: &str) -> String {
    output::escaped(text.as_bytes())
}

pub(super) fn json(header: &BackupHeader, bytes: u64) -> Value {
    json!({
        "cluster_id": header.cluster_id,
        "cluster_name": header.cluster_name,
        "application": header.application,
        "schema": header.schema,
        "created_unix_ms": header.created_unix_ms,
        "node": header.node_id,
        "version": header.version,
        "log_term": header.log_term,
        "log_leader": header.log_leader,
        "log_index": header.log_index,
        "position": header.position,
        "revision": header.revision,
        "members": json::members(&header.members),
        "bytes": bytes,
    })
}
