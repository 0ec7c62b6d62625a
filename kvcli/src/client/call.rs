//! One operation from its first attempt to its end: the retry rules.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::backoff::Backoff;
use super::connections::Connection;
use super::failure::Verdict;
use super::route::Route;
use super::wire::ResponseHeader;
use super::{Cause, Client, ClientError, Endpoint, Failure, TraceId};

/// Names the leader in the metadata of an error.
const LEADER_METADATA: &str = "kv-leader-addr";

/// What kind of request it is, which decides what may be retried and what a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Changes nothing: always retried, never of unknown outcome.
    None,
    /// Applied once however often it is sent: always retried.
    Once,
    /// May take effect each time it is sent: retried only if it cannot have been applied.
    EachTime,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// The last known leader, then the other endpoints.
    Leader,
    /// The configured endpoints.
    AnyNode,
    /// This node and no other, once.
    Node(Endpoint),
}

/// What is the same for all attempts.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) operation: &'static str,
    pub(super) effect: Effect,
    pub(super) target: Target,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    trace: TraceId,
}

/// What an attempt tells the node besides the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    time_left: Duration,
    trace: TraceId,
}

/// An answer that may name the leader.
pub(super) trait Answer {
    fn header(&self) -> Option<&ResponseHeader>;
}

/// One operation under way. Invariant: once `maybe_applied` is set, the operation ends in success or in
/// [`ClientError::OutcomeUnknown`].
struct Call<'a> {
    client: &'a Client,
    plan: Plan,
    route: Route,
    backoff: Backoff,
    maybe_applied: bool,
    last: Option<Failure>,
}

impl Client {
    pub(super) fn plan(&self, operation: &'static str, effect: Effect, target: Target) -> Plan {
        let started = Instant::now();
        // A timeout of centuries means no timeout; a day is as good.
        const LONGEST: Duration = Duration::from_secs(86_400);
        let deadline = started + self.timeout.min(LONGEST);
        let trace = self.trace.unwrap_or_else(TraceId::random);
        Plan { operation, effect, target, started, deadline, trace }
    }

    /// Runs `send` against one endpoint after the other until it succeeds or the plan's rules end it.
    /// `send` is given a channel and what to tell the node.
    pub(super) async fn call<T, F, Fut>(&self, plan: Plan, send: F) -> Result<T, ClientError>
    where
        T: Answer,
        F: Fn(Channel, Terms) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut call = Call {
            client: self,
            plan,
            route: Route::default(),
            backoff: Backoff::new(),
            maybe_applied: false,
            last: None,
        };
        while let Some(endpoint) = call.pick().await {
            match call.attempt(&endpoint, &send).await {
                Ok(answer) => {
                    call.succeeded(&endpoint, &answer);
                    return Ok(answer);
                }
                Err(failure) => call.failed(&endpoint, failure)?,
            }
        }
        Err(call.give_up())
    }
}

impl Call<'_> {
    /// The endpoint of the next attempt, after a wait if all were tried; none when it is time to give up.
    async fn pick(&mut self) -> Option<Endpoint> {
        loop {
            if self.last.is_some() && Instant::now() >= self.plan.deadline {
                return None;
            }
            if let Some(endpoint) = self.next_in_round() {
                return Some(endpoint);
            }
            if self.route.is_exhausted(self.configured()) || self.is_single_round() {
                return None;
            }
            let wake = Instant::now() + self.backoff.wait();
            sleep_until(wake.min(self.plan.deadline)).await;
            self.route.new_round();
        }
    }

    fn next_in_round(&mut self) -> Option<Endpoint> {
        let shared = &self.client.shared;
        match &self.plan.target {
            Target::Node(node) => self.route.next(None, std::slice::from_ref(node), 0),
            target => {
                let leader = match target {
                    Target::Leader => shared.leader.known(),
                    _ => None,
                };
                let first = shared.first.load(Ordering::Relaxed);
                self.route.next(leader, &shared.endpoints, first)
            }
        }
    }

    /// Who asks one node wants to know how it is now, not whether it comes back.
    fn is_single_round(&self) -> bool {
        matches!(self.plan.target, Target::Node(_))
    }

    fn configured(&self) -> &[Endpoint] {
        match &self.plan.target {
            Target::Node(node) => std::slice::from_ref(node),
            _ => &self.client.shared.endpoints,
        }
    }

    async fn attempt<T, F, Fut>(&self, endpoint: &Endpoint, send: &F) -> Result<T, Failure>
    where
        F: Fn(Channel, Terms) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let connections = &self.client.shared.connections;
        let deadline = self.plan.deadline;
        let connection = connections.get(endpoint, self.client.lane, deadline).await?;
        let time_left = deadline.saturating_duration_since(Instant::now());
        let terms = Terms { time_left, trace: self.plan.trace };
        let sending = send(connection.channel.clone(), terms);
        match timeout_at(deadline, sending).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(self.broken(endpoint, &connection, status).await),
            Err(_elapsed) => Err(Failure { endpoint: endpoint.clone(), cause: Cause::NoAnswer }),
        }
    }

    async fn broken(&self, endpoint: &Endpoint, connection: &Connection, status: Status) -> Failure {
        let failure = Failure::status(endpoint, status);
        if failure.breaks_connection() {
            let connections = &self.client.shared.connections;
            connections.discard(endpoint, self.client.lane, connection, self.plan.deadline).await;
        }
        failure
    }

    fn succeeded<T: Answer>(&self, endpoint: &Endpoint, answer: &T) {
        let shared = &self.client.shared;
        if let Some(header) = answer.header() {
            shared.leader.learn(&header.leader_addr);
        }
        if let Some(index) = shared.endpoints.iter().position(|known| known == endpoint) {
            shared.first.store(index, Ordering::Relaxed);
        }
    }

    /// Notes what the failure teaches, and ends the call if another attempt would be wrong or useless.
    fn failed(&mut self, endpoint: &Endpoint, failure: Failure) -> Result<(), ClientError> {
        self.follow_hint(endpoint, &failure);
        let verdict = failure.verdict();
        self.last = Some(failure);
        let unsure = matches!(verdict, Verdict::Unknown | Verdict::Nonsense);
        self.maybe_applied |= unsure && self.plan.effect != Effect::None;
        match verdict {
            Verdict::NotApplied => Ok(()),
            Verdict::Unknown if self.plan.effect != Effect::EachTime => Ok(()),
            Verdict::NodeFailed => {
                self.route.exclude(endpoint);
                Ok(())
            }
            Verdict::Unknown => Err(self.give_up()),
            Verdict::Refused | Verdict::Nonsense => Err(self.refused()),
        }
    }

    fn follow_hint(&self, endpoint: &Endpoint, failure: &Failure) {
        let leader = &self.client.shared.leader;
        let status = match &failure.cause {
            Cause::Status(status) if !failure.is_connect() => status,
            // A node that accepts requests and answers none looks alive: the next operation must not
            // start there again.
            _ => return self.client.shared.avoid(endpoint),
        };
        if failure.denies_leadership() {
            leader.forget(endpoint);
        }
        let hint = status.metadata().get(LEADER_METADATA).and_then(|hint| hint.to_str().ok());
        if let Some(hint) = hint {
            leader.learn(hint);
        }
    }

    /// The end when time or endpoints have run out.
    fn give_up(&mut self) -> ClientError {
        let failed = self.last.as_ref().is_some_and(|f| f.verdict() == Verdict::NodeFailed);
        if self.maybe_applied || failed {
            return self.refused();
        }
        ClientError::Unreachable {
            operation: self.plan.operation,
            waited: self.plan.started.elapsed(),
            last: self.last.take(),
        }
    }

    /// The end after a final answer.
    fn refused(&mut self) -> ClientError {
        let operation = self.plan.operation;
        let waited = self.plan.started.elapsed();
        match self.last.take() {
            Some(failure) if self.maybe_applied => ClientError::OutcomeUnknown { operation, waited, failure },
            Some(failure) => ClientError::Refused { operation, failure },
            None => ClientError::Unreachable { operation, waited, last: None },
        }
    }
}

/// A request that tells the node how long the answer is of use.
pub(super) fn timed<T>(message: T, terms: Terms) -> Request<T> {
    let mut request = untimed(message, terms);
    request.set_timeout(terms.time_left);
    request
}

/// A request whose answer is of use for as long as it takes.
pub(super) fn untimed<T>(message: T, terms: Terms) -> Request<T> {
    let mut request = Request::new(message);
    terms.trace.send(request.metadata_mut());
    request
}
