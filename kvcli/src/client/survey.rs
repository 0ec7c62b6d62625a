//! One question to every address of every endpoint at once.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;

use super::attempt::Answer;
use super::backoff::Backoff;
use super::call::Plan;
use super::connections::Link;
use super::names::Address;
use super::terms::Terms;
use super::{Cause, Client, ClientError, ClusterId, Endpoint, Failure};

/// Questions on their way at the same time.
const MAX_CONCURRENT_QUESTIONS: usize = 64;
/// The grace period is no more than the remaining time divided by this.
const GRACE_DIVISOR: u32 = 4;

/// How long a survey waits.
#[derive(Debug)]
pub(super) struct Patience<T> {
    /// For all answers of a round, from its beginning.
    pub(super) round: Duration,
    /// For the other answers, once there is this one; none: it does not shorten the round.
    pub(super) grace: fn(&Result<T, Failure>) -> Option<Duration>,
}

/// What was heard from one address.
#[derive(Debug)]
pub(super) struct Said<T> {
    pub(super) address: Option<Address>,
    pub(super) endpoint: Endpoint,
    pub(super) result: Result<T, Failure>,
}

/// Everything that was heard. Invariant: some node answered, with a failure at least.
#[derive(Debug)]
pub(super) struct Survey<T>(pub(super) Vec<Said<T>>);

impl Client {
    /// Asks in rounds until some node answers.
    pub(super) async fn survey<T, F, Fut>(
        &self,
        plan: &Plan,
        patience: Patience<T>,
        send: F,
    ) -> Result<Survey<T>, ClientError>
    where
        T: Answer,
        F: Fn(Link, Terms) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut backoff = Backoff::new();
        let mut last = None;
        while last.is_none() || Instant::now() < plan.deadline {
            let said = self.round(plan, &patience, &send).await;
            let (strangers, said) = self.split(said);
            if said.iter().any(Said::is_answer) {
                return Ok(Survey(said));
            }
            if said.is_empty() {
                return Err(self.only_strangers(plan, &strangers, None));
            }
            last = said.into_iter().find_map(|said| said.result.err()).map(|failure| (strangers, failure));
            sleep_until((Instant::now() + backoff.wait()).min(plan.deadline)).await;
        }
        Err(match last {
            Some((strangers, last)) if !strangers.is_empty() => {
                self.only_strangers(plan, &strangers, Some(last))
            }
            last => plan.unreachable(last.map(|(_, failure)| failure)),
        })
    }

    /// What nodes of another cluster than this client's said, and the rest.
    fn split<T: Answer>(&self, said: Vec<Said<T>>) -> (Vec<(Endpoint, ClusterId)>, Vec<Said<T>>) {
        let (mut strangers, mut others) = (Vec::new(), Vec::new());
        for said in said {
            match self.shared.identity.foreign(said.cluster()) {
                Some(cluster) => strangers.push((said.endpoint, cluster)),
                None => others.push(said),
            }
        }
        (strangers, others)
    }

    fn only_strangers(
        &self,
        plan: &Plan,
        strangers: &[(Endpoint, ClusterId)],
        last: Option<Failure>,
    ) -> ClientError {
        let (operation, found) = (plan.operation, strangers.to_vec());
        match self.cluster_id() {
            Some(expected) => ClientError::ForeignNodes { operation, expected, found, last },
            None => plan.unreachable(last),
        }
    }

    async fn round<T, F, Fut>(&self, plan: &Plan, patience: &Patience<T>, send: &F) -> Vec<Said<T>>
    where
        F: Fn(Link, Terms) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let end = plan.deadline.min(Instant::now() + patience.round);
        let (addresses, mut heard) = self.every_address(end).await;
        let mut silent = addresses.clone();
        let mut questions = stream::iter(addresses)
            .map(|address| async move {
                let result = self.attempt(&address, end, plan.sending, send).await;
                (address, result)
            })
            .buffer_unordered(MAX_CONCURRENT_QUESTIONS);
        let mut until = end;
        while let Ok(Some((address, result))) = timeout_at(until, questions.next()).await {
            if let Some(grace) = (patience.grace)(&result) {
                let left = until.saturating_duration_since(Instant::now());
                until = until.min(Instant::now() + grace.min(left / GRACE_DIVISOR));
            }
            silent.retain(|other| *other != address);
            heard.push(Said { endpoint: address.endpoint.clone(), address: Some(address), result });
        }
        heard.extend(silent.into_iter().map(Said::nothing));
        heard
    }

    /// The addresses of all endpoints, and the endpoints that have none.
    async fn every_address<T>(&self, until: Instant) -> (Vec<Address>, Vec<Said<T>>) {
        let endpoints = &self.shared.endpoints;
        let lookups = endpoints.iter().map(|endpoint| self.shared.names.addresses(endpoint, until));
        let (mut addresses, mut failures) = (Vec::new(), Vec::new());
        for (endpoint, found) in endpoints.iter().zip(join_all(lookups).await) {
            match found {
                Ok(found) => addresses.extend(found),
                Err(cause) => failures.push(Said::failed(endpoint, cause)),
            }
        }
        (addresses, failures)
    }
}

impl<T> Said<T> {
    fn nothing(address: Address) -> Self {
        Self { address: Some(address.clone()), ..Self::failed(&address.endpoint, Cause::NoAnswer) }
    }

    fn failed(endpoint: &Endpoint, cause: Cause) -> Self {
        let endpoint = endpoint.clone();
        Self { address: None, endpoint: endpoint.clone(), result: Err(Failure { endpoint, cause }) }
    }

    /// Whether asking again at once would be useless.
    fn is_answer(&self) -> bool {
        match &self.result {
            Ok(_) => true,
            Err(failure) => failure.cluster().is_some() || failure.is_final(),
        }
    }
}

impl<T: Answer> Said<T> {
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.result.as_ref().map_or_else(Failure::cluster, Answer::cluster)
    }
}

impl<T: Answer> Survey<T> {
    /// The one cluster of all that answered; none if no answer names one.
    pub(super) fn cluster(&self) -> Result<Option<ClusterId>, ClientError> {
        let mut clusters: Vec<(ClusterId, Vec<Endpoint>)> = Vec::new();
        for said in &self.0 {
            let Some(cluster) = said.cluster() else { continue };
            let index = match clusters.iter().position(|(known, _)| *known == cluster) {
                Some(index) => index,
                None => {
                    clusters.push((cluster, Vec::new()));
                    clusters.len() - 1
                }
            };
            if let Some((_, endpoints)) = clusters.get_mut(index)
                && !endpoints.contains(&said.endpoint)
            {
                endpoints.push(said.endpoint.clone());
            }
        }
        match clusters.as_slice() {
            [] => Ok(None),
            [(cluster, _)] => Ok(Some(*cluster)),
            _ => Err(ClientError::SeveralClusters { clusters }),
        }
    }

    /// The answer that ranks highest, or why there is none.
    pub(super) fn best<K: Ord>(self, plan: &Plan, rank: impl Fn(&T) -> K) -> Result<T, ClientError> {
        let mut last = None;
        let mut best: Option<T> = None;
        for said in self.0 {
            match said.result {
                Ok(answer) if best.as_ref().is_none_or(|best| rank(&answer) > rank(best)) => {
                    best = Some(answer);
                }
                Ok(_) => {}
                Err(failure) if failure.is_final() || last.is_none() => last = Some(failure),
                Err(_) => {}
            }
        }
        match (best, last) {
            (Some(best), _) => Ok(best),
            (None, Some(failure)) if failure.is_final() => {
                Err(ClientError::Refused { operation: plan.operation, failure })
            }
            (None, last) => Err(plan.unreachable(last)),
        }
    }
}
