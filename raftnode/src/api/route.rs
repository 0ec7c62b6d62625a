//! Finding the leader, and trying again while nothing has been applied.

use std::time::Duration;

use network_grpc::ClusterId;
use tokio::time::Instant;
use tonic::Status;

use super::call::Call;
use super::forward::{Effect, Hop};
use super::server::Api;
use super::status_codes::{self, Failure};
use crate::raft::{Member, NodeId};
use crate::standing::Leader;

/// How long a request waits for a leader: longer than an election takes. At the worst that is the
/// lease of the old leader and an election timeout, 1.8 to 2.4 s, and one timeout more if the first
/// vote is split.
pub(crate) const LEADER_WAIT: Duration = Duration::from_secs(4);
/// A node that has found no leader for this long since its start lets no request wait for one.
const HOPELESS_AFTER: Duration = LEADER_WAIT;
/// Longest pause before the leader is looked for again; a change of leader ends it early.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How an attempt at another node ended.
enum Sent<T> {
    Ended(Result<T, Failure>),
    /// Another leader is known, and the request may go there. It may have been sent to this one.
    LetGo {
        sent: bool,
    },
}

/// What is known of a request that has failed so far.
#[derive(Default)]
struct Attempts {
    /// How an attempt ended that may have applied it.
    lost: Option<Status>,
    /// How often it was sent to another node.
    sent: u32,
}

impl Attempts {
    /// The end of the request, if `status` is the end of its last attempt: what may have been
    /// applied before is not undone by an attempt that was not.
    fn end(self, status: Status) -> Status {
        self.lost.unwrap_or(status)
    }
}

impl Api {
    /// Runs `here` if this node leads, or `there` over a connection to the leader, until one of
    /// them has an outcome; looks for the leader again, for `patience` at most, as long as nothing
    /// was applied. A request that waits for a leader that has been replaced is let go, if it may
    /// be sent again.
    pub(super) async fn on_leader<T, H, HF, R, RF>(
        &self,
        call: &Call,
        patience: Duration,
        effect: Effect,
        here: H,
        there: R,
    ) -> Result<T, Status>
    where
        H: Fn() -> HF,
        HF: Future<Output = Result<T, Failure>>,
        R: Fn(Hop) -> RF,
        RF: Future<Output = Result<T, Status>>,
    {
        let give_up = call.deadline.min(Instant::now() + patience);
        let mut attempts = Attempts::default();
        loop {
            let attempt = match self.local.leader() {
                Leader::Here => here().await,
                Leader::There(..) if call.forwarded => return Err(attempts.end(self.does_not_lead())),
                Leader::There(id, leader) if !self.is_hopeless() => {
                    attempts.sent = attempts.sent.wrapping_add(1);
                    match self.send(call, effect, (id, &leader), attempts.sent % 2 == 0, &there).await {
                        Sent::Ended(attempt) => attempt,
                        Sent::LetGo { sent } => {
                            if sent && effect != Effect::Read {
                                attempts.lost = Some(status_codes::leader_lost(id));
                            }
                            continue;
                        }
                    }
                }
                Leader::There(..) | Leader::Nobody => self.nobody_leads(),
            };
            let status = match attempt {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(status)) => return Err(attempts.end(status)),
                Err(Failure::NotApplied(status)) => status,
                Err(Failure::Lost(status)) => {
                    attempts.lost = Some(status.clone());
                    status
                }
            };
            let left = give_up.saturating_duration_since(Instant::now());
            if left < LOOK_AGAIN || self.is_hopeless() || self.local.is_stopping() && call.forwarded {
                return Err(attempts.end(status));
            }
            self.local.leadership_change(LOOK_AGAIN).await;
        }
    }

    /// Sends a request to the leader, and waits for the answer or for another leader. `again`: see
    /// [`connect`](Self::connect).
    async fn send<T, R, RF>(
        &self,
        call: &Call,
        effect: Effect,
        (id, leader): (NodeId, &Member),
        again: bool,
        there: &R,
    ) -> Sent<T>
    where
        R: Fn(Hop) -> RF,
        RF: Future<Output = Result<T, Status>>,
    {
        tracing::debug!(
            trace.id = %call.trace.trace, span.id = %call.trace.span, to = id, "forwarding to the leader"
        );
        let cluster = self.local.identity().member().map(|m| m.cluster_id);
        let connected = tokio::select! {
            connected = within(call, Effect::Read, self.connect(call, cluster, (id, leader), again)) => connected,
            () = self.local.another_leader(id) => return Sent::LetGo { sent: false },
        };
        let (hop, addr) = match connected {
            Ok(connected) => connected,
            Err(failure) => return Sent::Ended(Err(failure)),
        };
        let answer = async {
            there(hop).await.map_err(|status| self.forwarder.judge(addr, (id, cluster), effect, status))
        };
        let answer = within(call, effect, answer);
        if !effect.may_repeat() {
            return Sent::Ended(answer.await);
        }
        tokio::select! {
            answer = answer => Sent::Ended(answer),
            () = self.local.another_leader(id) => Sent::LetGo { sent: true },
        }
    }

    /// A connection to the leader's port for peers: where the membership has it, or else where this
    /// node was told at its start that it is. All members may have moved at once, and then the
    /// membership can only be corrected by way of the latter. `again`: the other way round, since
    /// another node may have taken the leader's old address.
    async fn connect<'a>(
        &'a self,
        call: &Call,
        cluster: Option<ClusterId>,
        (id, leader): (NodeId, &'a Member),
        again: bool,
    ) -> Result<(Hop, &'a str), Failure> {
        let known = &*leader.raft_addr;
        let told = self.local.peers.as_ref().and_then(|peers| peers.get(id));
        let told = told.map(|peer| &*peer.raft_addr).filter(|told| *told != known);
        let (first, second) = match told {
            Some(told) if again => (told, Some(known)),
            told => (known, told),
        };
        let failure = match self.forwarder.hop(call, cluster, id, first).await {
            Ok(hop) => return Ok((hop, first)),
            Err(failure) => failure,
        };
        match second {
            Some(second) => Ok((self.forwarder.hop(call, cluster, id, second).await?, second)),
            None => Err(failure),
        }
    }

    fn nobody_leads<T>(&self) -> Result<T, Failure> {
        status_codes::check_standing(&self.local)?;
        status_codes::check_affiliation(&self.local)?;
        let silence = self.local.leader_watch.silence();
        Err(Failure::NotApplied(status_codes::no_leader(format_args!("none heard of for {silence:.1?}"))))
    }

    fn does_not_lead(&self) -> Status {
        status_codes::no_leader(format_args!(
            "the request was forwarded to node {}, which does not lead",
            self.local.id
        ))
    }

    fn is_hopeless(&self) -> bool {
        let watch = &self.local.leader_watch;
        watch.has_lost_leader() || watch.silence() > HOPELESS_AFTER
    }
}

/// Bounds an attempt by the deadline. A write that was sent may have been applied; a read has not
/// changed anything, and a node that did not answer it is as good as absent.
pub(super) async fn within<T>(
    call: &Call,
    effect: Effect,
    attempt: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout_at(call.deadline, attempt).await {
        Ok(outcome) => outcome,
        Err(_) if effect != Effect::Read => Err(status_codes::out_of_time_unknown().into()),
        Err(_) => Err(status_codes::out_of_time().into()),
    }
}
