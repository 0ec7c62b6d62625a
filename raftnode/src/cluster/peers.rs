//! Asking the members, on their ports for peers, and remembering what they said.
//!
//! What a member says is not trusted: lists are cut, texts are bounded, counts that do not fit are
//! dropped, and no time is later than now: a browser has no date for the largest, and a sample of
//! the future would never grow old.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::future::join_all;
use proto::node::v1 as pb;
use proto::node::v1::cluster_client::ClusterClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::api::{CLUSTER_ID_METADATA, NODE_ID_METADATA, Reporter, address};
use crate::history::{
    DISK_BOUNDS_SECONDS, MAX_EVENT_TEXT_BYTES, MAX_EVENTS, MAX_SAMPLES, REQUEST_BOUNDS_SECONDS,
    SAMPLE_INTERVAL, unix_millis,
};
use crate::raft::NodeId;
use crate::tls::Dialler;

/// A member that has not answered within this is shown as one that cannot be reached.
const ASK_TIMEOUT: Duration = Duration::from_millis(1000);
/// Members asked; more are not shown.
const MAX_MEMBERS: usize = 64;
/// Problems of one member that are kept.
const MAX_PROBLEMS: usize = 16;
/// Largest answer taken.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// What is known of each member, by id.
#[derive(Default)]
pub(super) struct PeerReports(BTreeMap<NodeId, Peer>);

/// One member, and what it said last.
///
/// Invariants: at most [`MAX_SAMPLES`] and [`MAX_EVENTS`], none older than 15 minutes (samples),
/// oldest first.
pub(super) struct Peer {
    pub(super) member: pb::Member,
    /// The last answer, without samples and events.
    pub(super) last: Option<pb::ReportResponse>,
    /// Why the last question was not answered by it.
    pub(super) absence: Option<Absence>,
    /// When it last answered, in milliseconds since 1970.
    pub(super) answered_unix_ms: Option<u64>,
    pub(super) samples: VecDeque<pb::Sample>,
    pub(super) events: VecDeque<pb::Event>,
    /// The members that it knows.
    members: Vec<pb::Member>,
    channel: Option<Channel>,
    known: pb::ReportRequest,
}

/// Why a member has not said how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absence {
    /// Nothing answers, or not in time.
    Silent(String),
    /// What answers at its address is not the member that the cluster knows.
    Stranger(String),
}

impl Absence {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Silent(reason) | Self::Stranger(reason) => reason,
        }
    }

    fn bounded(mut self) -> Self {
        match &mut self {
            Self::Silent(reason) | Self::Stranger(reason) => truncate(reason),
        }
        self
    }

    /// Of member `id`, which was asked.
    fn of(status: &Status, id: NodeId) -> Self {
        let told = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
        let node = told(NODE_ID_METADATA).and_then(|id| id.parse::<NodeId>().ok());
        match node.filter(|_| status.code() == Code::FailedPrecondition) {
            Some(node) if node == id && told(CLUSTER_ID_METADATA).is_none_or(str::is_empty) => {
                Self::Stranger(format!(
                    "node {id} answers and is of no cluster: its data directory was wiped or is new; run `kvcli cluster remove \
                     {id}`, and add a node with a new id and an empty directory"
                ))
            }
            Some(_) => Self::Stranger(status.message().to_owned()),
            None => Self::Silent(root_cause(status)),
        }
    }
}

impl PeerReports {
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.0.iter().map(|(id, peer)| (*id, peer))
    }

    /// Of these members, as if they had been asked.
    #[cfg(test)]
    pub(super) fn of(peers: BTreeMap<NodeId, Peer>) -> Self {
        Self(peers)
    }

    /// Asks all members at once; returns when every one has answered or run out of time. Where one
    /// of them has a newer membership than this node, it is asked of that.
    pub(super) async fn ask(&mut self, reporter: &Reporter, dialler: &Dialler) {
        self.follow_membership(reporter.members());
        self.ask_all(reporter, dialler).await;
        if let Some(members) = self.newer_membership(reporter.id()) {
            self.follow_membership(members);
            self.ask_all(reporter, dialler).await;
        }
    }

    /// The members that another node knows, if its membership is newer than that of node `own`.
    fn newer_membership(&self, own: NodeId) -> Option<Vec<pb::Member>> {
        let index = |peer: &Peer| peer.report()?.status.as_ref().map(|status| status.membership_index);
        let newest = self.0.values().max_by_key(|peer| index(peer))?;
        let newer = index(newest) > self.0.get(&own).and_then(index);
        (newer && !newest.members.is_empty()).then(|| newest.members.clone())
    }

    async fn ask_all(&mut self, reporter: &Reporter, dialler: &Dialler) {
        let questions = self.0.iter_mut().map(|(id, peer)| async {
            let answer = if *id == reporter.id() {
                Ok(reporter.report(&peer.known).await)
            } else {
                peer.ask(dialler, &reporter.cluster_id(), *id).await
            };
            peer.take(answer);
        });
        join_all(questions).await;
    }

    /// Members that have left are forgotten, and so is one whose address has changed.
    fn follow_membership(&mut self, members: Vec<pb::Member>) {
        let mut before = std::mem::take(&mut self.0);
        for member in members.into_iter().take(MAX_MEMBERS) {
            let known = before.remove(&member.id).filter(|peer| peer.member.raft_addr == member.raft_addr);
            let peer = known
                .map_or_else(|| Peer::new(member.clone()), |peer| Peer { member: member.clone(), ..peer });
            self.0.insert(member.id, peer);
        }
    }
}

impl Peer {
    pub(super) fn new(member: pb::Member) -> Self {
        Self {
            member,
            last: None,
            absence: None,
            answered_unix_ms: None,
            samples: VecDeque::new(),
            events: VecDeque::new(),
            members: Vec::new(),
            channel: None,
            known: pb::ReportRequest::default(),
        }
    }

    /// What it said about itself last, if it can be reached.
    pub(super) fn report(&self) -> Option<&pb::ReportResponse> {
        self.last.as_ref().filter(|_| self.absence.is_none())
    }

    async fn ask(
        &mut self,
        dialler: &Dialler,
        cluster_id: &str,
        id: NodeId,
    ) -> Result<pb::ReportResponse, Absence> {
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => dial(dialler, id, &self.member.raft_addr).map_err(Absence::Silent)?,
        };
        let mut client = ClusterClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let mut request = Request::new(self.known);
        request.set_timeout(ASK_TIMEOUT);
        address(request.metadata_mut(), cluster_id.parse().ok(), id);
        let answer = tokio::time::timeout(ASK_TIMEOUT, client.report(request)).await;
        let answer = answer.map_err(|_| Absence::Silent(format!("no answer within {ASK_TIMEOUT:?}")))?;
        let answer = answer.map_err(|status| Absence::of(&status, id))?.into_inner();
        // Kept only while it works.
        self.channel = Some(channel);
        check_identity(&answer, cluster_id, id).map_err(Absence::Stranger)?;
        Ok(answer)
    }

    pub(super) fn take(&mut self, answer: Result<pb::ReportResponse, Absence>) {
        match answer {
            Ok(answer) => {
                self.absence = None;
                self.answered_unix_ms = Some(unix_millis());
                self.take_news(answer);
            }
            Err(absence) => self.absence = Some(absence.bounded()),
        }
        self.forget_old(unix_millis());
    }

    fn take_news(&mut self, mut answer: pb::ReportResponse) {
        // Another version may count in other buckets; those cannot be added up with ours.
        let comparable = answer.request_bounds_seconds == REQUEST_BOUNDS_SECONDS
            && answer.disk_bounds_seconds == DISK_BOUNDS_SECONDS;
        let samples = std::mem::take(&mut answer.samples);
        let events = std::mem::take(&mut answer.events);
        let now = unix_millis();
        let before = Some(self.known).filter(|known| known.run == answer.run).unwrap_or_default();
        self.known = pb::ReportRequest {
            run: answer.run,
            after_sample: samples.last().map_or(before.after_sample, |sample| sample.number),
            after_event: events.last().map_or(before.after_event, |event| event.number),
        };
        if comparable {
            self.samples.extend(samples.into_iter().filter(fits).map(|mut sample| {
                sample.at_unix_ms = sample.at_unix_ms.min(now);
                sample
            }));
        }
        self.events.extend(events.into_iter().map(|mut event| {
            truncate(&mut event.text);
            event.at_unix_ms = event.at_unix_ms.min(now);
            event
        }));
        while self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
        if let Some(status) = &mut answer.status {
            self.members = std::mem::take(&mut status.members);
            self.members.truncate(MAX_MEMBERS);
            status.replication.truncate(MAX_MEMBERS);
            status.problems.truncate(MAX_PROBLEMS);
            status.problems.iter_mut().for_each(truncate);
            truncate(&mut status.incarnation);
            truncate(&mut status.cluster_name);
            truncate(&mut status.fault);
            truncate(&mut status.version);
        }
        answer.leader_since_unix_ms = answer.leader_since_unix_ms.min(now);
        truncate(&mut answer.not_ready_because);
        truncate(&mut answer.http_addr);
        self.last = Some(answer);
    }

    fn forget_old(&mut self, now_unix_ms: u64) {
        let span = u64::try_from(SAMPLE_INTERVAL.as_millis()).unwrap_or(u64::MAX) * MAX_SAMPLES as u64;
        let oldest = now_unix_ms.saturating_sub(span);
        self.samples.retain(|sample| sample.at_unix_ms >= oldest);
        while self.samples.len() > MAX_SAMPLES {
            self.samples.pop_front();
        }
    }
}

/// Another process may have taken the address.
fn check_identity(answer: &pb::ReportResponse, cluster_id: &str, id: NodeId) -> Result<(), String> {
    let status = answer.status.as_ref().ok_or("its answer has no status")?;
    let header = status.header.as_ref().ok_or("its answer has no header")?;
    if header.cluster_id != cluster_id || status.node_id != id {
        return Err(format!(
            "node {} of cluster {} answers at its address",
            status.node_id, header.cluster_id
        ));
    }
    Ok(())
}

fn fits(sample: &pb::Sample) -> bool {
    let fits = |counts: &Vec<u32>, bounds: &[f64]| counts.is_empty() || counts.len() == bounds.len() + 1;
    let requests = [&sample.write, &sample.read];
    sample.span_ms > 0
        && requests.into_iter().all(|counts| fits(counts, REQUEST_BOUNDS_SECONDS))
        && [&sample.sync, &sample.apply].into_iter().all(|counts| fits(counts, DISK_BOUNDS_SECONDS))
}

fn dial(dialler: &Dialler, id: NodeId, addr: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|e| format!("{addr}: {e}"))?;
    let endpoint = endpoint.connect_timeout(ASK_TIMEOUT).tcp_nodelay(true);
    Ok(dialler.connect_lazy(&endpoint, id, addr))
}

fn root_cause(status: &tonic::Status) -> String {
    let first = std::error::Error::source(status);
    let last = std::iter::successors(first, |error| error.source()).last();
    last.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn truncate(text: &mut String) {
    // A fault names a path, which may be long.
    const MAX_TEXT_BYTES: usize = 4 * MAX_EVENT_TEXT_BYTES;
    let end = (0..=MAX_TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: u64, write: Vec<u32>) -> pb::Sample {
        pb::Sample { number, at_unix_ms: unix_millis(), span_ms: 5000, write, ..pb::Sample::default() }
    }

    fn answer(samples: Vec<pb::Sample>) -> pb::ReportResponse {
        pb::ReportResponse {
            run: 7,
            request_bounds_seconds: REQUEST_BOUNDS_SECONDS.to_vec(),
            disk_bounds_seconds: DISK_BOUNDS_SECONDS.to_vec(),
            samples,
            ..pb::ReportResponse::default()
        }
    }

    #[test]
    fn what_a_member_says_is_bounded() {
        let mut peer = Peer::new(pb::Member::default());
        let flood = (1..=1000).map(|n| sample(n, vec![1; 17])).collect();
        peer.take(Ok(pb::ReportResponse {
            events: (0..1000).map(|_| pb::Event { text: "é".repeat(5000), ..pb::Event::default() }).collect(),
            ..answer(flood)
        }));
        assert_eq!((peer.samples.len(), peer.events.len()), (MAX_SAMPLES, MAX_EVENTS));
        assert!(peer.events[0].text.len() <= 4 * MAX_EVENT_TEXT_BYTES);
        let fitting = peer.samples.len();
        peer.take(Ok(answer(vec![sample(1001, vec![1; 3]), pb::Sample::default()])));
        assert_eq!(peer.samples.len(), fitting, "counts that do not fit the bounds, or no time");
    }

    /// Found: an event at the last millisecond that 64 bits hold overflowed where events are
    /// merged, and was an exception in the page, which then showed nothing new.
    #[test]
    fn no_time_is_later_than_now() {
        let mut peer = Peer::new(pb::Member::default());
        let late = pb::Event { number: 1, at_unix_ms: u64::MAX, ..pb::Event::default() };
        peer.take(Ok(pb::ReportResponse {
            events: vec![late],
            leader_since_unix_ms: u64::MAX,
            ..answer(vec![pb::Sample { at_unix_ms: u64::MAX, ..sample(1, vec![]) }])
        }));
        let now = unix_millis();
        assert!(peer.events[0].at_unix_ms <= now && peer.samples[0].at_unix_ms <= now);
        assert!(peer.last.as_ref().unwrap().leader_since_unix_ms <= now);
        peer.forget_old(now + 16 * 60 * 1000);
        assert!(peer.samples.is_empty());
    }

    #[test]
    fn what_is_known_is_not_asked_for_again_and_survives_silence() {
        let mut peer = Peer::new(pb::Member::default());
        peer.take(Ok(answer(vec![sample(1, vec![1; 17]), sample(2, vec![])])));
        assert_eq!((peer.known.run, peer.known.after_sample), (7, 2));
        peer.take(Err(Absence::Silent("gone".to_owned())));
        assert!(peer.report().is_none() && peer.samples.len() == 2);
        peer.forget_old(unix_millis() + 16 * 60 * 1000);
        assert!(peer.samples.is_empty());
    }

    /// Found: the page said of a wiped member, which answers, that it cannot be reached, and not
    /// what to do.
    #[test]
    fn a_wiped_member_answers_and_is_a_stranger() {
        let refused = |node: u64, cluster: Option<&'static str>| {
            let mut status = Status::failed_precondition("this is another node");
            status.metadata_mut().insert(NODE_ID_METADATA, node.into());
            if let Some(cluster) = cluster {
                status.metadata_mut().insert(CLUSTER_ID_METADATA, cluster.parse().unwrap());
            }
            Absence::of(&status, 3)
        };
        let wiped = refused(3, None);
        assert!(matches!(&wiped, Absence::Stranger(text) if text.contains("cluster remove 3")), "{wiped:?}");
        let other = Absence::Stranger("this is another node".to_owned());
        assert_eq!([refused(3, Some("c1")), refused(4, None)], [other.clone(), other]);
        let silent = Absence::of(&Status::unavailable("gone"), 3);
        assert_eq!(silent, Absence::Silent("gone".to_owned()));
    }

    #[test]
    fn somebody_else_at_the_address_is_not_the_member() {
        let header = pb::ResponseHeader { cluster_id: "own".to_owned(), ..pb::ResponseHeader::default() };
        let status = pb::StatusResponse { header: Some(header), node_id: 2, ..pb::StatusResponse::default() };
        let answer = pb::ReportResponse { status: Some(status), ..pb::ReportResponse::default() };
        assert!(check_identity(&answer, "own", 2).is_ok());
        assert!(check_identity(&answer, "own", 3).is_err() && check_identity(&answer, "other", 2).is_err());
        assert!(check_identity(&pb::ReportResponse::default(), "own", 2).is_err());
    }
}
