//! Sees what happens to this node: compares what it is with what it was, a few times a second.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::LogIdOptionExt as _;
use proto::node::v1::EventKind;

use super::meter::Meter;
use super::store::{History, SAMPLE_INTERVAL, unix_millis};
use crate::metrics::Metrics;
use crate::raft::NodeId;
use crate::standing::{Local, Standing, answers, explain};

/// How often this node looks at itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// A leader has heard from every member that works this long after it came to power.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What changes of it are events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct View {
    /// The live leader and its term.
    leader: Option<(NodeId, u64)>,
    voters: BTreeSet<NodeId>,
    learners: BTreeSet<NodeId>,
    snapshot_index: u64,
    failure: Option<String>,
    /// On a leader, once it has led for a while: members that do not acknowledge it.
    silent: BTreeSet<NodeId>,
    stopping: bool,
}

/// Samples and watches until the process ends.
pub(crate) async fn run(local: Arc<Local>, metrics: Arc<Metrics>, history: Arc<History>) {
    history
        .add_event(EventKind::Node, format!("node {} started, version {}", local.id, local.program.version));
    let mut view = View::of(&local, false);
    // What was found on disk is no news.
    view.leader = None;
    let mut last = Meter::read(&metrics);
    let mut slot = slot();
    loop {
        let now = View::of(&local, is_settled(&history));
        note(&history, &view, &now);
        view = now;
        if slot != self::slot() {
            slot = self::slot();
            let now = Meter::read(&metrics);
            history.add_sample(last.until(&now));
            last = now;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Samples begin and end at multiples of the interval on the clock, so that those of different
/// nodes fit together.
fn slot() -> u64 {
    unix_millis() / u64::try_from(SAMPLE_INTERVAL.as_millis()).unwrap_or(u64::MAX)
}

fn is_settled(history: &History) -> bool {
    let since = history.leader_since_unix_ms();
    since > 0 && Duration::from_millis(unix_millis().saturating_sub(since)) >= SETTLED_AFTER
}

fn note(history: &History, before: &View, now: &View) {
    if before.leader != now.leader {
        history.leader_changed(now.leader);
    }
    for (kind, text) in now.news(before) {
        history.add_event(kind, text);
    }
}

impl View {
    fn of(local: &Local, settled: bool) -> Self {
        let alive = local.leader_watch.is_alive();
        let failure = match local.standing() {
            Standing::Good => None,
            Standing::Faulty(fault) => Some(explain(&fault)),
            Standing::Stopped(_) if local.is_stopping() => None,
            Standing::Stopped(reason) => Some(format!("consensus has stopped: {reason}")),
        };
        local.with_metrics(|now| {
            let membership = now.membership_config.membership();
            let others = membership.nodes().map(|(id, _)| *id).filter(|id| *id != now.id);
            let leads = now.state.is_leader() && alive && settled;
            Self {
                leader: now.current_leader.filter(|_| alive).map(|id| (id, now.current_term)),
                voters: membership.voter_ids().collect(),
                learners: membership.learner_ids().collect(),
                snapshot_index: now.snapshot.index().unwrap_or_default(),
                failure,
                silent: others.filter(|id| leads && !answers(now, *id)).collect(),
                stopping: local.is_stopping(),
            }
        })
    }

    /// What has happened since `before`.
    fn news(&self, before: &Self) -> Vec<(EventKind, String)> {
        let mut news = Vec::new();
        if self.failure != before.failure
            && let Some(failure) = &self.failure
        {
            news.push((EventKind::Fault, failure.clone()));
        }
        if self.stopping && !before.stopping {
            news.push((EventKind::Node, "asked to stop".to_owned()));
        }
        news.extend(self.leader_news(before).map(|text| (EventKind::Election, text)));
        if (&self.voters, &self.learners) != (&before.voters, &before.learners) {
            let text = format!("members: voters {}; learners {}", list(&self.voters), list(&self.learners));
            news.push((EventKind::Membership, text));
        }
        if self.snapshot_index > before.snapshot_index {
            let text = format!("snapshot of the state up to log index {}", self.snapshot_index);
            news.push((EventKind::Snapshot, text));
        }
        news.extend(self.peer_news(before).map(|text| (EventKind::Peer, text)));
        news
    }

    fn has(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.learners.contains(&id)
    }

    fn leader_news(&self, before: &Self) -> Option<String> {
        match (before.leader, self.leader) {
            (was, now) if was == now => None,
            (_, Some((id, term))) => Some(format!("node {id} leads, term {term}")),
            (Some((id, _)), None) => Some(format!("no leader; the last was node {id}")),
            (None, None) => None,
        }
    }

    /// Only while the same node leads: the next leader says for itself who does not answer it.
    fn peer_news<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = String> + 'a {
        let led = self.leader.is_some() && self.leader == before.leader;
        let lost =
            self.silent.difference(&before.silent).map(|id| format!("node {id} does not answer the leader"));
        // One that has left is no longer silent either.
        let back = before.silent.difference(&self.silent).filter(|id| self.has(**id));
        let back = back.map(|id| format!("node {id} answers the leader"));
        lost.chain(back).filter(move |_| led)
    }
}

fn list(ids: &BTreeSet<NodeId>) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(before: &View, now: &View) -> Vec<String> {
        now.news(before).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn what_changes_is_news_and_what_stays_is_not() {
        let before = View { leader: Some((1, 3)), voters: [1, 2, 3].into(), ..View::default() };
        assert!(texts(&before, &before).is_empty());
        let now = View { leader: None, ..before.clone() };
        assert_eq!(texts(&before, &now), ["no leader; the last was node 1"]);
        let later = View { leader: Some((1, 4)), learners: [4].into(), snapshot_index: 9, ..now.clone() };
        assert_eq!(
            texts(&now, &later),
            [
                "node 1 leads, term 4",
                "members: voters 1, 2, 3; learners 4",
                "snapshot of the state up to log index 9"
            ]
        );
        let fault = View { failure: Some("disk full".to_owned()), ..later.clone() };
        assert_eq!(texts(&later, &fault), ["disk full"]);
        assert!(texts(&fault, &later).is_empty());
    }

    #[test]
    fn a_leader_says_who_falls_silent_and_who_comes_back() {
        let leads = View { voters: [1, 2, 3].into(), leader: Some((1, 2)), ..View::default() };
        let half = View { silent: [2].into(), ..leads.clone() };
        assert_eq!(texts(&leads, &half), ["node 2 does not answer the leader"]);
        assert_eq!(texts(&half, &leads), ["node 2 answers the leader"]);
        let without = View { voters: [1, 3].into(), ..leads.clone() };
        assert_eq!(
            texts(&half, &without),
            ["members: voters 1, 3; learners none"],
            "it was removed, not heard"
        );
        let follows = View { leader: Some((3, 3)), ..leads.clone() };
        assert_eq!(texts(&half, &follows), ["node 3 leads, term 3"]);
    }
}
