//! The report for programs: one JSON object.

use serde_json::{Value, json};
use storage_leveldb::check::{CheckedLog, CheckedPairs, CheckedPosition, Problem};

use super::advice::{advice, name, procedure};
use super::outcome::Outcome;

pub(super) fn of(outcome: &Outcome) -> String {
    let identity = outcome.identity.as_ref();
    let id = identity.map(|identity| identity.node_id);
    let problem = |problem: &Problem| {
        json!({
            "path": outcome.shown(&problem.path).to_string(),
            "kind": name(problem.kind),
            "reason": problem.reason,
            "advice": advice(problem.kind, id),
            "procedure": procedure(problem.kind),
        })
    };
    let notes = outcome
        .notes
        .iter()
        .map(|note| json!({ "path": outcome.shown(&note.path).to_string(), "text": note.text }));
    let report = json!({
        "data_dir": outcome.data_dir.display().to_string(),
        "node_id": id,
        "cluster_id": identity.and_then(|identity| Some(identity.member?.cluster_id.to_string())),
        "is_well": outcome.problems.is_empty(),
        "problems": outcome.problems.iter().map(problem).collect::<Vec<Value>>(),
        "more_problems": outcome.more_problems,
        "notes": notes.collect::<Vec<Value>>(),
        "more_notes": outcome.more_notes,
        "files": outcome.files,
        "bytes": outcome.bytes,
        "log": outcome.log.as_ref().map(log),
        "state": outcome.state.as_ref().map(pairs),
    });
    format!("{report}\n")
}

fn log(log: &CheckedLog) -> Value {
    json!({
        "entries": log.entries,
        "bytes": log.bytes,
        "vote": log.vote,
        "first_index": log.first,
        "last": log.last.as_ref().map(position),
        "purged": log.purged.as_ref().map(position),
        "committed": log.committed.as_ref().map(position),
    })
}

fn pairs(pairs: &CheckedPairs) -> Value {
    json!({ "pairs": pairs.pairs, "bytes": pairs.bytes, "applied": pairs.applied.as_ref().map(position) })
}

fn position(position: &CheckedPosition) -> Value {
    json!({ "index": position.index, "log_id": position.log_id })
}
