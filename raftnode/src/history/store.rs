//! What is kept, and for how long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::node::v1 as pb;

use crate::raft::NodeId;

/// Time covered by one sample.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// Samples kept: 15 minutes of them.
pub(crate) const MAX_SAMPLES: usize = 180;
/// Events kept.
pub(crate) const MAX_EVENTS: usize = 100;
/// Longest text of an event; more is cut off.
pub(crate) const MAX_EVENT_TEXT_BYTES: usize = 300;

/// The samples and events of this process.
///
/// Invariants: at most [`MAX_SAMPLES`] and [`MAX_EVENTS`], each numbered from 1 without holes,
/// oldest first.
#[derive(Debug)]
pub(crate) struct History {
    /// Another one after every start: the time of it, in milliseconds since 1970.
    pub run: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    samples: VecDeque<pb::Sample>,
    events: VecDeque<pb::Event>,
    last_sample: u64,
    last_event: u64,
    leader: Option<(NodeId, u64)>,
    leader_alive: bool,
    leader_since_unix_ms: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { run: unix_millis(), kept: Mutex::default() }
    }
}

impl History {
    /// Numbers and keeps a sample.
    pub(crate) fn add_sample(&self, mut sample: pb::Sample) {
        let mut kept = self.kept();
        kept.last_sample += 1;
        sample.number = kept.last_sample;
        push_bounded(&mut kept.samples, sample, MAX_SAMPLES);
    }

    /// Something happened just now.
    pub(crate) fn add_event(&self, kind: pb::EventKind, text: impl Into<String>) {
        let mut text = text.into();
        let end =
            (0..=MAX_EVENT_TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        let mut kept = self.kept();
        kept.last_event += 1;
        let number = kept.last_event;
        let event = pb::Event { number, at_unix_ms: unix_millis(), kind: kind.into(), text };
        push_bounded(&mut kept.events, event, MAX_EVENTS);
    }

    /// From now on this node leads in this term, or no node does. A leader that was out of sight
    /// for a moment has led all along.
    pub(crate) fn leader_changed(&self, leader: Option<(NodeId, u64)>) {
        let mut kept = self.kept();
        kept.leader_alive = leader.is_some();
        if leader.is_some() && kept.leader != leader {
            kept.leader = leader;
            kept.leader_since_unix_ms = unix_millis();
        }
    }

    /// When this node first saw the present leader lead, in milliseconds since 1970; 0: there is
    /// none.
    #[must_use]
    pub(crate) fn leader_since_unix_ms(&self) -> u64 {
        let kept = self.kept();
        if kept.leader_alive { kept.leader_since_unix_ms } else { 0 }
    }

    /// What `request` does not have yet.
    #[must_use]
    pub(crate) fn since(&self, request: &pb::ReportRequest) -> (Vec<pb::Sample>, Vec<pb::Event>) {
        let known = request.run == self.run;
        let (sample, event) = if known { (request.after_sample, request.after_event) } else { (0, 0) };
        let kept = self.kept();
        let samples = kept.samples.iter().filter(|kept| kept.number > sample).cloned().collect();
        (samples, kept.events.iter().filter(|kept| kept.number > event).cloned().collect())
    }

    /// A panic elsewhere cannot have left it half changed.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    queue.push_back(item);
    while queue.len() > most {
        queue.pop_front();
    }
}

/// The time of day.
#[must_use]
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_only_news_is_handed_out() {
        let history = History::default();
        for n in 0..MAX_SAMPLES as u64 + 20 {
            history.add_sample(pb::Sample { at_unix_ms: n, ..pb::Sample::default() });
            history.add_event(pb::EventKind::Node, format!("event {n}"));
        }
        let (samples, events) = history.since(&pb::ReportRequest::default());
        assert_eq!((samples.len(), samples[0].at_unix_ms, samples[0].number), (MAX_SAMPLES, 20, 21));
        assert_eq!(events.len(), MAX_EVENTS);
        let mut request = pb::ReportRequest {
            run: history.run,
            after_sample: samples[MAX_SAMPLES - 2].number,
            after_event: events[MAX_EVENTS - 1].number,
        };
        let (news, none) = history.since(&request);
        assert_eq!((news.len(), none.len()), (1, 0));
        // After a restart the numbers mean something else.
        request.run += 1;
        assert_eq!(history.since(&request).0.len(), MAX_SAMPLES);
    }

    #[test]
    fn a_leader_that_was_out_of_sight_has_led_all_along() {
        let history = History::default();
        history.leader_changed(Some((1, 2)));
        history.kept().leader_since_unix_ms = 77;
        history.leader_changed(None);
        assert_eq!(history.leader_since_unix_ms(), 0);
        history.leader_changed(Some((1, 2)));
        assert_eq!(history.leader_since_unix_ms(), 77);
        history.leader_changed(Some((1, 3)));
        assert!(history.leader_since_unix_ms() > 77);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let history = History::default();
        history.add_event(pb::EventKind::Fault, "é".repeat(MAX_EVENT_TEXT_BYTES));
        history.add_event(pb::EventKind::Fault, "short");
        let (_, events) = history.since(&pb::ReportRequest::default());
        assert!(events[0].text.len() <= MAX_EVENT_TEXT_BYTES && events[0].text.chars().all(|c| c == 'é'));
        assert_eq!(events[1].text, "short");
    }
}
