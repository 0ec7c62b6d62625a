//! What to do about a problem.

use storage_leveldb::check::ProblemKind;

use raftnode::NodeId;

/// Every kind, the most serious first.
pub(super) const KINDS: [ProblemKind; 3] =
    [ProblemKind::Damaged, ProblemKind::Unreadable, ProblemKind::OtherFormat];

/// A word for it.
pub(super) fn name(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Damaged => "damaged",
        ProblemKind::Unreadable => "unreadable",
        ProblemKind::OtherFormat => "other_format",
    }
}

/// Where the operator finds the procedure: document and heading.
pub(super) fn procedure(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Damaged => "docs/operations/recovery.md, \"Replace a node\"",
        ProblemKind::Unreadable | ProblemKind::OtherFormat => {
            "docs/operations/recovery.md, \"Check a data directory\""
        }
    }
}

/// What to do, in full sentences.
pub(super) fn advice(kind: ProblemKind, node: Option<NodeId>) -> String {
    let id = node.map_or_else(|| "ID".to_owned(), |id| id.to_string());
    match kind {
        ProblemKind::Damaged => format!(
            "Do not start this node again, and do not start its id on an empty directory. Replace it: `kvcli cluster \
             remove {id}`, then add a node with a new id and an empty directory."
        ),
        ProblemKind::Unreadable => "Run the check as the user that runs the node. If it is not a matter of \
                                    permissions, look into the system's log for errors of the disk; replace a \
                                    failing disk, and with it this node."
            .to_owned(),
        ProblemKind::OtherFormat => {
            "Use the version of kvnode that wrote this directory, for the node and for the check.".to_owned()
        }
    }
}
