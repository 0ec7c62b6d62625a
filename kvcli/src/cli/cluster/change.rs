//! The commands that change the cluster: each says what was done and shows the membership after it.

use clap::Args;
use kvcli::Endpoint;
use kvcli::wire::Member;
use serde_json::json;

use super::members;
use crate::cli::Context;
use crate::exit::Problem;
use crate::json;
use crate::output::{self, Format};

#[derive(Debug, Args)]
pub(super) struct AddLearnerArgs {
    /// Its id, as given to `kvnode --id`
    id: u64,
    /// Where peers reach it, host:port
    raft_addr: Endpoint,
    /// Where clients reach it, host:port
    client_addr: Endpoint,
}

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// Node ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u64>,
    /// Also if the cluster may then stop taking writes: for ever, if the members that do not
    /// answer never come back
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct SetAddressArgs {
    /// Node id
    id: u64,
    /// Where peers reach it now, host:port
    #[arg(long, value_name = "ADDR", required_unless_present = "client")]
    raft: Option<Endpoint>,
    /// Where clients reach it now, host:port
    #[arg(long, value_name = "ADDR")]
    client: Option<Endpoint>,
    /// Also if the member does not answer there: with a wrong address it is out of reach of its
    /// peers, and a majority may be missing
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// Node id
    id: u64,
}

pub(super) async fn init(context: &Context) -> anyhow::Result<()> {
    let answer = context.client.init().await?;
    let what = match answer.already_initialized {
        true => "the cluster was initialised before",
        false => "the cluster is initialised",
    };
    if context.format == Format::Json {
        let written = output::json(&json!({
            "already_initialized": answer.already_initialized,
            "members": json::members(&answer.members),
        }));
        output::done(what, context.format, written);
        return Ok(());
    }
    show(context, what, &answer.members);
    Ok(())
}

impl AddLearnerArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        check_different(Some(&self.raft_addr), Some(&self.client_addr))?;
        let (raft_addr, client_addr) = (self.raft_addr.as_str(), self.client_addr.as_str());
        let answer = context.client.add_learner(self.id, raft_addr, client_addr).await?;
        let votes = answer.members.iter().any(|member| member.id == self.id && member.voter);
        let what = match votes {
            true => format!("node {} is a member that votes already", self.id),
            false if answer.catching_up => {
                format!("node {} is a learner and is still catching up; see `kvcli cluster status`", self.id)
            }
            false => format!("node {} is a learner and has caught up", self.id),
        };
        show(context, &what, &answer.members);
        Ok(())
    }
}

impl ChangeArgs {
    pub(super) async fn promote(self, context: &Context) -> anyhow::Result<()> {
        let answer = context.client.change_membership(&self.ids, &[], self.force).await?;
        let verb = if self.ids.len() == 1 { "votes" } else { "vote" };
        show(context, &format!("{} {verb}", nodes(&self.ids)), &answer.members);
        Ok(())
    }

    pub(super) async fn remove(self, context: &Context) -> anyhow::Result<()> {
        let answer = context.client.change_membership(&[], &self.ids, self.force).await?;
        show(context, &format!("{} removed", nodes(&self.ids)), &answer.members);
        Ok(())
    }
}

impl SetAddressArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        check_different(self.raft.as_ref(), self.client.as_ref())?;
        let raft = self.raft.as_ref().map(Endpoint::as_str);
        let client = self.client.as_ref().map(Endpoint::as_str);
        let answer = context.client.set_address(self.id, raft, client, self.force).await?;
        show(context, &format!("the cluster reaches node {} there", self.id), &answer.members);
        Ok(())
    }
}

/// A node serves peers and clients on two ports.
pub(super) fn check_different(raft: Option<&Endpoint>, client: Option<&Endpoint>) -> Result<(), Problem> {
    match (raft, client) {
        (Some(raft), Some(client)) if raft == client => Err(Problem::BadArguments(format!(
            "{raft} is given as the address for peers and for clients; these are two ports of a node \
             (--raft-addr and --client-addr of kvnode)"
        ))),
        _ => Ok(()),
    }
}

impl IdArgs {
    pub(super) async fn transfer(self, context: &Context) -> anyhow::Result<()> {
        let answer = context.client.transfer_leader(self.id).await?;
        if answer.leader_id != self.id {
            return Err(Problem::AnotherLeads { wanted: self.id, leads: answer.leader_id }.into());
        }
        let term = answer.header.map_or(0, |header| header.term);
        let what = format!("node {} leads", self.id);
        let written = match context.format {
            Format::Text => output::line(&what),
            Format::Json => output::json(&json!({ "leader": self.id, "term": term })),
        };
        output::done(&what, context.format, written);
        Ok(())
    }
}

pub(super) async fn snapshot(context: &Context) -> anyhow::Result<()> {
    let answer = context.client.snapshot().await?;
    let node = answer.header.map_or(0, |header| header.node_id);
    let index = answer.snapshot_index;
    let what = format!("node {node} built a snapshot up to log index {index}");
    let written = match context.format {
        Format::Text => output::line(&what),
        Format::Json => output::json(&json!({ "node": node, "snapshot_index": index })),
    };
    output::done(&what, context.format, written);
    Ok(())
}

pub(super) fn show(context: &Context, what: &str, members: &[Member]) {
    let written = match context.format {
        Format::Text => output::line(&format!("{what}\n\n{}", members::table(members, 0))),
        Format::Json => output::json(&json!({ "members": json::members(members) })),
    };
    output::done(what, context.format, written);
}

fn nodes(ids: &[u64]) -> String {
    let noun = if ids.len() == 1 { "node" } else { "nodes" };
    let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
    format!("{noun} {}", ids.join(", "))
}
