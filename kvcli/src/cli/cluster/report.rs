//! What a survey says about the cluster as a whole: who leads, whether it is well, who lags.

use std::fmt;

use kvcli::wire::{Role, StatusResponse};

use super::survey::{Node, Survey};

/// The judgement over a survey. Invariant: `leader`, if there is one, answered and is in `survey`.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) survey: Survey,
    leader: Option<usize>,
}

/// How the cluster is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Every member answers and none reports a fault.
    Ok { voters: usize },
    /// It serves, but some member is missing or damaged.
    Degraded { well: usize, voters: usize },
    /// Nobody who answers leads.
    Unavailable { well: usize, voters: usize },
    /// `cluster init` has not been run.
    NotInitialised,
}

impl Report {
    pub(super) fn new(survey: Survey) -> Self {
        let leading = |node: &Node| node.status().is_some_and(|s| s.role() == Role::Leader);
        // Two lead while a deposed leader has not noticed; the greater term is right.
        let leader = (survey.nodes.iter().enumerate())
            .filter(|(_, node)| leading(node))
            .max_by_key(|(_, node)| node.status().map(|status| status.term))
            .map(|(index, _)| index);
        Self { survey, leader }
    }

    pub(super) fn leader(&self) -> Option<&Node> {
        self.survey.nodes.get(self.leader?)
    }

    pub(super) fn health(&self) -> Health {
        if !self.survey.initialized {
            return Health::NotInitialised;
        }
        let voters = self.survey.nodes.iter().filter(|node| node.member.voter);
        let well = voters.clone().filter(|node| node.is_well()).count();
        let voters = voters.count();
        match self.leader() {
            None => Health::Unavailable { well, voters },
            Some(_) if self.survey.nodes.iter().all(Node::is_well) => Health::Ok { voters },
            Some(_) => Health::Degraded { well, voters },
        }
    }

    /// How many log entries the leader has and `node` has not. The leader's own count is preferred: it
    /// was taken at the same moment as its last index.
    pub(super) fn lag(&self, node: &Node) -> Option<u64> {
        let leader = self.leader()?.status()?;
        let matched = leader.replication.iter().find(|r| r.id == node.member.id);
        let has = match matched {
            Some(replication) => replication.matched_index,
            None => node.status()?.last_log_index,
        };
        Some(leader.last_log_index.saturating_sub(has))
    }
}

impl Node {
    pub(super) fn status(&self) -> Option<&StatusResponse> {
        self.answer.as_ref().ok()
    }

    /// The id in the membership; before there is one, the id the node gives itself.
    pub(super) fn id(&self) -> Option<u64> {
        match self.member.id {
            0 => self.status().map(|status| status.node_id),
            id => Some(id),
        }
    }

    pub(super) fn role(&self) -> &'static str {
        let Some(status) = self.status() else {
            return "unreachable";
        };
        match status.role() {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Learner => "learner",
            Role::Unspecified => "-",
        }
    }

    /// What somebody should look at.
    pub(super) fn complaint(&self) -> Option<String> {
        let status = match &self.answer {
            Ok(status) => status,
            Err(reason) => return Some(reason.clone()),
        };
        if !status.fault.is_empty() {
            return Some(status.fault.clone());
        }
        let expected = self.member.id;
        (expected != 0 && expected != status.node_id)
            .then(|| format!("node {} answers at its address", status.node_id))
    }

    fn is_well(&self) -> bool {
        self.complaint().is_none()
    }
}

impl Health {
    /// For scripts.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ok { .. } => "ok",
            Self::Degraded { .. } => "degraded",
            Self::Unavailable { .. } => "unavailable",
            Self::NotInitialised => "not_initialized",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok { voters } => write!(f, "ok: {voters} of {voters} voters answer"),
            Self::Degraded { well, voters } => {
                write!(f, "degraded: {well} of {voters} voters are well, {} needed", voters / 2 + 1)
            }
            Self::Unavailable { well, voters } => {
                let needed = voters / 2 + 1;
                write!(f, "UNAVAILABLE: no leader; {well} of {voters} voters are well, {needed} needed")
            }
            Self::NotInitialised => write!(f, "not initialised; run `kvcli cluster init`"),
        }
    }
}
