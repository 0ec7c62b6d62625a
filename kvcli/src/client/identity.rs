//! Which cluster a client talks to.
//!
//! A request that may reach a node of another cluster must say which one it is meant for. A client
//! learns the id of its cluster from its first answer. If it has several endpoints, the first
//! answer could come from a foreign node that took over an address, so it asks all of them for
//! their status before it sends anything else.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::attempt::Answer as _;
use super::call::Plan;
use super::cluster::status;
use super::survey::{Patience, Survey};
use super::wire::StatusResponse;
use super::{Client, ClientError, ClusterId, Endpoint, Failure};

/// How long a client waits for the status of its other endpoints once one has named its cluster.
const IDENTITY_GRACE: Duration = Duration::from_millis(250);
/// How long it waits for their status at all before it asks again.
const IDENTITY_ROUND: Duration = Duration::from_secs(1);

/// The id of the cluster, shared by all clones of a client. Invariant: once known, it never
/// changes.
#[derive(Debug, Default)]
pub(super) struct Identity {
    known: OnceLock<ClusterId>,
    asking: Mutex<()>,
}

impl Identity {
    /// One that is known from the start, if there is one.
    pub(super) fn new(pinned: Option<ClusterId>) -> Self {
        let identity = Self::default();
        identity.learn(pinned);
        identity
    }

    pub(super) fn known(&self) -> Option<ClusterId> {
        self.known.get().copied()
    }

    /// Takes the id of an answer, unless one is known.
    pub(super) fn learn(&self, cluster: Option<ClusterId>) {
        if let Some(cluster) = cluster {
            // The first one stays.
            let _ = self.known.set(cluster);
        }
    }

    /// The id of a cluster that is not this one's.
    pub(super) fn foreign(&self, cluster: Option<ClusterId>) -> Option<ClusterId> {
        cluster.filter(|cluster| self.known().is_some_and(|known| known != *cluster))
    }
}

impl Client {
    /// Makes sure that a client of several endpoints knows its cluster before it sends `plan`'s
    /// request.
    pub(super) async fn identify(&self, plan: &Plan) -> Result<(), ClientError> {
        let identity = &self.shared.identity;
        if self.shared.endpoints.len() == 1 || identity.known().is_some() {
            return Ok(());
        }
        let Ok(_asking) = timeout_at(plan.deadline, identity.asking.lock()).await else {
            return Err(plan.unreachable(None));
        };
        if identity.known().is_some() {
            return Ok(());
        }
        let patience = Patience { round: IDENTITY_ROUND, grace };
        let survey = self.survey(plan, patience, status).await?;
        identity.learn(survey.cluster()?);
        self.note_signs_of_life(&survey);
        Ok(())
    }

    /// Requests go to nodes that answered, and to the leader that they name unless it is silent.
    fn note_signs_of_life(&self, survey: &Survey<StatusResponse>) {
        let answers = || survey.0.iter().filter_map(|said| said.result.as_ref().ok());
        let newest = answers().filter_map(|answer| answer.header()).max_by_key(|header| header.term);
        if let Some(header) = newest {
            self.shared.leader.learn(header.leader_addr);
        }
        for said in &survey.0 {
            match (&said.address, &said.result) {
                (Some(address), Ok(_)) => self.shared.names.answered(address),
                (Some(address), Err(failure)) if !failure.is_answer() => self.shared.names.silent(address),
                _ => {}
            }
        }
        let well = |endpoint: &&Endpoint| {
            survey.0.iter().any(|said| {
                said.endpoint == **endpoint && said.result.is_ok() && said.cluster() == self.cluster_id()
            })
        };
        for endpoint in self.shared.endpoints.iter().filter(|endpoint| !well(endpoint)) {
            self.shared.avoid(endpoint);
        }
        if let Some(endpoint) = self.shared.endpoints.iter().find(well) {
            self.shared.prefer(endpoint);
        }
    }
}

/// A node of a cluster has answered: the others get a moment to contradict.
fn grace(answer: &Result<StatusResponse, Failure>) -> Option<Duration> {
    let cluster = match answer {
        Ok(answer) => answer.cluster(),
        Err(failure) => failure.cluster(),
    };
    cluster.map(|_| IDENTITY_GRACE)
}
