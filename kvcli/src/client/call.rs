//! One operation from its first attempt to its end: the retry rules.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::attempt::{Answer, Sending};
use super::backoff::Backoff;
use super::connections::Link;
use super::failure::Verdict;
use super::names::Address;
use super::route::Route;
use super::terms::Terms;
use super::{Cause, Client, ClientError, ClusterId, Endpoint, Failure, TraceId, metadata};

/// The least time for an attempt, if the operation has as much left: a share of a short timeout
/// could be too short for any answer.
const MIN_ATTEMPT: Duration = Duration::from_millis(100);

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

/// What an operation is, from its beginning to its end.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) operation: &'static str,
    pub(super) effect: Effect,
    pub(super) target: Target,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pub(super) sending: Sending,
}

/// One operation under way. Invariant: once `maybe_applied` is set, the operation ends in success,
/// in [`ClientError::OutcomeUnknown`] or in [`ClientError::ForeignAnswer`].
struct Call<'a> {
    client: &'a Client,
    plan: Plan,
    route: Route,
    /// Of the present endpoint, not yet tried in this round.
    addresses: VecDeque<Address>,
    /// Not to be tried again by this operation.
    excluded: Vec<Address>,
    /// The last failure excluded its address.
    excluded_last: bool,
    strangers: Vec<(Endpoint, ClusterId)>,
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
        let sending = Sending { trace, names_cluster: true };
        Plan { operation, effect, target, started, deadline, sending }
    }

    /// Runs `send` against one address after the other until it succeeds or the plan's rules end
    /// it. `send` is given a link to the node and what to tell it.
    pub(super) async fn call<T, F, Fut>(&self, plan: Plan, send: F) -> Result<T, ClientError>
    where
        T: Answer,
        F: Fn(Link, Terms) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        if plan.needs_identity() {
            self.identify(&plan).await?;
        }
        let mut call = Call::new(self, plan);
        while let Some(address) = call.pick().await {
            let until = call.attempt_ends();
            match self.attempt(&address, until, call.plan.sending, &send).await {
                Ok(answer) => {
                    call.succeeded(&address, &answer)?;
                    return Ok(answer);
                }
                Err(failure) => call.failed(&address, failure)?,
            }
        }
        Err(call.give_up())
    }
}

impl Plan {
    /// A question to one node is about that node, whatever it belongs to.
    fn needs_identity(&self) -> bool {
        self.sending.names_cluster && !matches!(self.target, Target::Node(_))
    }

    pub(super) fn unreachable(&self, last: Option<Failure>) -> ClientError {
        ClientError::Unreachable { operation: self.operation, waited: self.started.elapsed(), last }
    }
}

impl<'a> Call<'a> {
    fn new(client: &'a Client, plan: Plan) -> Self {
        Self {
            client,
            plan,
            route: Route::default(),
            addresses: VecDeque::new(),
            excluded: Vec::new(),
            excluded_last: false,
            strangers: Vec::new(),
            backoff: Backoff::new(),
            maybe_applied: false,
            last: None,
        }
    }

    /// The address of the next attempt, after a wait if all were tried; none when it is time to
    /// give up.
    async fn pick(&mut self) -> Option<Address> {
        loop {
            if self.last.is_some() && Instant::now() >= self.plan.deadline {
                return None;
            }
            if let Some(address) = self.addresses.pop_front() {
                return Some(address);
            }
            if let Some(endpoint) = self.next_in_round() {
                self.open(&endpoint).await;
                continue;
            }
            if self.route.is_exhausted(self.configured()) || self.is_single_round() {
                return None;
            }
            let wake = Instant::now() + self.backoff.wait();
            sleep_until(wake.min(self.plan.deadline)).await;
            self.route.new_round();
        }
    }

    /// It is the turn of `endpoint`: all its addresses are to be tried.
    async fn open(&mut self, endpoint: &Endpoint) {
        match self.client.shared.names.addresses(endpoint, self.attempt_ends()).await {
            Ok(addresses) => {
                self.addresses.extend(addresses.into_iter().filter(|a| !self.excluded.contains(a)));
                if self.addresses.is_empty() {
                    self.route.exclude(endpoint);
                }
            }
            Err(cause) => {
                self.client.shared.avoid(endpoint);
                self.excluded_last = false;
                self.last = Some(Failure { endpoint: endpoint.clone(), cause });
            }
        }
    }

    /// When the next attempt has to be over. A node that accepts a request and never answers must
    /// leave time for the others, where they may be asked as well.
    fn attempt_ends(&self) -> Instant {
        let deadline = self.plan.deadline;
        if self.plan.effect == Effect::EachTime {
            return deadline;
        }
        let now = Instant::now();
        let others = self.addresses.len() + self.route.left_in_round(self.configured());
        let attempts = u32::try_from(others + 1).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / attempts;
        deadline.min(now + share.max(MIN_ATTEMPT))
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

    /// A question to one node is about how it is now, not about whether it comes back.
    fn is_single_round(&self) -> bool {
        matches!(self.plan.target, Target::Node(_))
    }

    fn configured(&self) -> &[Endpoint] {
        match &self.plan.target {
            Target::Node(node) => std::slice::from_ref(node),
            _ => &self.client.shared.endpoints,
        }
    }

    fn succeeded<T: Answer>(&self, address: &Address, answer: &T) -> Result<(), ClientError> {
        let shared = &self.client.shared;
        if let Some(found) = shared.identity.foreign(answer.cluster()) {
            return Err(self.foreign_answer(&address.endpoint, found));
        }
        shared.identity.learn(answer.cluster());
        if let Some(header) = answer.header() {
            shared.leader.learn(header.leader_addr);
        }
        shared.names.answered(address);
        shared.prefer(&address.endpoint);
        Ok(())
    }

    /// Notes what the failure teaches, and ends the call if another attempt would be wrong or
    /// useless.
    fn failed(&mut self, address: &Address, failure: Failure) -> Result<(), ClientError> {
        self.excluded_last = false;
        let identity = &self.client.shared.identity;
        if let Some(found) = identity.foreign(failure.cluster()) {
            return self.met_stranger(address, failure, found);
        }
        identity.learn(failure.cluster());
        self.follow_hint(address, &failure);
        self.maybe_applied |= self.plan.effect != Effect::None && !failure.proves_not_applied();
        let verdict = if self.is_outsider(&failure) { Verdict::NodeFailed } else { failure.verdict() };
        self.last = Some(failure);
        if self.maybe_applied && self.plan.effect == Effect::EachTime {
            return Err(self.give_up());
        }
        match verdict {
            Verdict::TryAgain | Verdict::Unknown => Ok(()),
            Verdict::NodeFailed => {
                self.exclude(address);
                Ok(())
            }
            Verdict::Refused => Err(self.refused()),
        }
    }

    /// The failure comes from a node of another cluster.
    fn met_stranger(
        &mut self,
        address: &Address,
        failure: Failure,
        found: ClusterId,
    ) -> Result<(), ClientError> {
        let harmless = failure.is_precondition() || failure.proves_not_applied();
        if !harmless && self.plan.effect != Effect::None {
            return Err(self.foreign_answer(&address.endpoint, found));
        }
        self.client.shared.avoid(&address.endpoint);
        self.client.shared.names.silent(address);
        self.exclude(address);
        let stranger = (address.endpoint.clone(), found);
        if !self.strangers.contains(&stranger) {
            self.strangers.push(stranger);
        }
        Ok(())
    }

    /// A node without a cluster refuses what is meant for one; others may serve.
    fn is_outsider(&self, failure: &Failure) -> bool {
        let told = self.plan.sending.names_cluster && self.client.cluster_id().is_some();
        told && failure.is_precondition() && failure.cluster().is_none()
    }

    fn exclude(&mut self, address: &Address) {
        self.excluded_last = true;
        if !self.excluded.contains(address) {
            self.excluded.push(address.clone());
        }
        let endpoint = &address.endpoint;
        let is_excluded =
            |socket| self.excluded.iter().any(|a| a.endpoint == *endpoint && a.socket == socket);
        let known = self.client.shared.names.remembered(endpoint);
        if known.is_some_and(|sockets| sockets.into_iter().all(is_excluded)) {
            self.route.exclude(endpoint);
        }
    }

    fn follow_hint(&self, address: &Address, failure: &Failure) {
        let shared = &self.client.shared;
        let status = match &failure.cause {
            Cause::Status(status) if !failure.is_connect() => status,
            // A node that accepts requests and answers none looks alive: the next operation must
            // not start there again.
            _ => {
                shared.names.silent(address);
                return shared.avoid(&address.endpoint);
            }
        };
        if failure.denies_leadership() {
            shared.leader.forget(&address.endpoint);
        }
        if let Some(hint) = metadata::text(status, metadata::LEADER_ADDR) {
            shared.leader.learn(hint);
        }
    }

    fn foreign_answer(&self, endpoint: &Endpoint, found: ClusterId) -> ClientError {
        ClientError::ForeignAnswer {
            operation: self.plan.operation,
            endpoint: endpoint.clone(),
            // Without a known cluster no other is foreign.
            expected: self.client.cluster_id().unwrap_or(found),
            found,
            wrote: self.plan.effect != Effect::None,
        }
    }

    /// The end when time or endpoints have run out.
    fn give_up(&mut self) -> ClientError {
        if !self.maybe_applied
            && let Some(expected) = self.client.cluster_id().filter(|_| !self.strangers.is_empty())
        {
            let (operation, last) = (self.plan.operation, self.last.take());
            return ClientError::ForeignNodes { operation, expected, found: self.strangers.clone(), last };
        }
        if self.maybe_applied || self.excluded_last {
            return self.refused();
        }
        self.plan.unreachable(self.last.take())
    }

    /// The end after a final answer.
    fn refused(&mut self) -> ClientError {
        let operation = self.plan.operation;
        let waited = self.plan.started.elapsed();
        match self.last.take() {
            Some(failure) if self.maybe_applied => ClientError::OutcomeUnknown { operation, waited, failure },
            Some(failure) => ClientError::Refused { operation, failure },
            None => self.plan.unreachable(None),
        }
    }
}
