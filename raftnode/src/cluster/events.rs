//! The events of all members in one list, newest first.

use proto::node::v1 as pb;
use serde::Serialize;

use super::peers::PeerReports;
use crate::raft::NodeId;

/// Events shown.
const MAX_SHOWN: usize = 60;
/// The same words of another node within this time are about the same thing.
const SAME_WITHIN_MS: u64 = 5000;

/// Something that happened, and who saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ClusterEvent {
    at_unix_ms: u64,
    kind: &'static str,
    text: String,
    nodes: Vec<NodeId>,
}

pub(super) fn merged(peers: &PeerReports) -> Vec<ClusterEvent> {
    let all = peers.iter().flat_map(|(id, peer)| peer.events.iter().map(move |event| (id, event)));
    merge(all.collect())
}

fn merge(mut all: Vec<(NodeId, &pb::Event)>) -> Vec<ClusterEvent> {
    all.sort_by_key(|(id, event)| (event.at_unix_ms, *id));
    let mut merged: Vec<ClusterEvent> = Vec::new();
    for (id, event) in all {
        let kind = kind(event.kind());
        let recent = merged.iter_mut().rev();
        let mut recent =
            recent.take_while(|seen| seen.at_unix_ms.saturating_add(SAME_WITHIN_MS) >= event.at_unix_ms);
        match recent.find(|seen| seen.kind == kind && seen.text == event.text && !seen.nodes.contains(&id)) {
            Some(same) => same.nodes.push(id),
            None => merged.push(ClusterEvent {
                at_unix_ms: event.at_unix_ms,
                kind,
                text: event.text.clone(),
                nodes: vec![id],
            }),
        }
    }
    merged.iter_mut().for_each(|event| event.nodes.sort_unstable());
    merged.reverse();
    merged.truncate(MAX_SHOWN);
    merged
}

pub(crate) fn kind(kind: pb::EventKind) -> &'static str {
    match kind {
        pb::EventKind::Node | pb::EventKind::Unspecified => "node",
        pb::EventKind::Election => "election",
        pb::EventKind::Membership => "membership",
        pb::EventKind::Snapshot => "snapshot",
        pb::EventKind::Peer => "peer",
        pb::EventKind::Fault => "fault",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_nodes_saw_is_told_once() {
        let event = |at_unix_ms, text: &str| pb::Event {
            at_unix_ms,
            text: text.to_owned(),
            kind: pb::EventKind::Election.into(),
            ..pb::Event::default()
        };
        let (first, second, later) =
            (event(100_000, "leads"), event(100_300, "leads"), event(200_000, "leads"));
        let merged = merge(vec![(3, &second), (1, &first), (2, &event(100_100, "other")), (1, &later)]);
        let told: Vec<_> = merged.iter().map(|event| (event.at_unix_ms, event.nodes.as_slice())).collect();
        assert_eq!(told, [(200_000, &[1][..]), (100_100, &[2]), (100_000, &[1, 3])]);
    }
}
