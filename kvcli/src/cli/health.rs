//! `kvcli health`, and the verdict about the cluster in words.

use std::fmt;

use clap::Args;
use kvcli::wire::{Health, HealthResponse};
use serde_json::json;

use super::Context;
use crate::exit::Code;
use crate::output::{self, Format};

/// What the exit codes of the commands mean that show a verdict.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  ok: one leader that a majority acknowledges, every voter answers and has no problem
  1  degraded: there is a leader, but something is not well; or not initialised; or the endpoints
     belong to different clusters
  2  there is no leader, or no node can be reached";

/// Say in one line whether the cluster is well
#[derive(Debug, Args)]
#[command(after_help = format!("`kvcli cluster status` tells more.\n\n{EXIT_CODES}"))]
pub(super) struct HealthArgs {}

impl HealthArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Code> {
        let answer = context.health().await?;
        let verdict = Verdict::new(&answer);
        match context.format {
            Format::Text => output::line(&verdict.to_string())?,
            Format::Json => output::json(&json!({
                "health": verdict.name(),
                "leader": (answer.leader_id != 0).then_some(answer.leader_id),
                "term": answer.term,
                "voters": verdict.voters,
                "voters_well": verdict.well,
            }))?,
        }
        Ok(verdict.code())
    }
}

/// What a node says about its cluster. Nothing is judged here.
#[derive(Debug)]
pub(super) struct Verdict {
    health: Health,
    voters: usize,
    /// Voters without a problem.
    well: usize,
}

impl Verdict {
    pub(super) fn new(answer: &HealthResponse) -> Self {
        let is_voter = |member: &kvcli::wire::Member| member.voter;
        let voters = answer.members.iter().filter(|m| m.member.as_ref().is_some_and(is_voter));
        let well = voters.clone().filter(|m| m.status.is_some() && m.problems.is_empty()).count();
        Self { health: answer.health(), voters: voters.count(), well }
    }

    /// For scripts.
    pub(super) fn name(&self) -> &'static str {
        match self.health {
            Health::Ok => "ok",
            Health::Degraded => "degraded",
            Health::Unavailable => "unavailable",
            Health::NotInitialized => "not_initialized",
            Health::Unspecified => "unknown",
        }
    }

    pub(super) fn is_initialized(&self) -> bool {
        self.health != Health::NotInitialized
    }

    pub(super) fn code(&self) -> Code {
        match self.health {
            Health::Ok => Code::DONE,
            Health::Unavailable => Code::NO_LEADER,
            Health::Degraded | Health::NotInitialized | Health::Unspecified => Code::NOT_WELL,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (well, voters, needed) = (self.well, self.voters, self.voters / 2 + 1);
        match self.health {
            Health::Ok => write!(f, "ok: {voters} of {voters} voters answer"),
            Health::Degraded => {
                write!(f, "degraded: {well} of {voters} voters are well, {needed} needed")
            }
            Health::Unavailable => {
                write!(f, "UNAVAILABLE: no leader; {well} of {voters} voters are well, {needed} needed")
            }
            Health::NotInitialized => {
                write!(f, "not initialised; to make a new cluster, run `kvcli cluster init`")
            }
            Health::Unspecified => write!(f, "unknown: the node gives no verdict that this kvcli knows"),
        }
    }
}
