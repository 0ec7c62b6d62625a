//! The commands that change the cluster: each says what was done and shows the membership after it.

use clap::Args;
use kvcli::Endpoint;
use kvcli::wire::Member;
use serde_json::json;

use super::members;
use crate::cli::Context;
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
pub(super) struct IdsArgs {
    /// Node ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u64>,
}

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// Node id
    id: u64,
}

pub(super) async fn init(context: &Context) -> anyhow::Result<()> {
    let answer = context.client.init().await?;
    if context.format == Format::Json {
        output::json(&json!({
            "already_initialized": answer.already_initialized,
            "members": json::members(&answer.members),
        }))?;
        return Ok(());
    }
    let what = match answer.already_initialized {
        true => "the cluster was initialised before",
        false => "the cluster is initialised",
    };
    show(context, what, &answer.members)
}

impl AddLearnerArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (raft_addr, client_addr) = (self.raft_addr.as_str(), self.client_addr.as_str());
        let answer = context.client.add_learner(self.id, raft_addr, client_addr).await?;
        let what = format!("node {} is a learner and has caught up", self.id);
        show(context, &what, &answer.members)
    }
}

impl IdsArgs {
    pub(super) async fn promote(self, context: &Context) -> anyhow::Result<()> {
        let answer = context.client.change_membership(&self.ids, &[]).await?;
        let verb = if self.ids.len() == 1 { "votes" } else { "vote" };
        show(context, &format!("{} {verb}", nodes(&self.ids)), &answer.members)
    }

    pub(super) async fn remove(self, context: &Context) -> anyhow::Result<()> {
        let answer = context.client.change_membership(&[], &self.ids).await?;
        show(context, &format!("{} removed", nodes(&self.ids)), &answer.members)
    }
}

impl IdArgs {
    pub(super) async fn transfer(self, context: &Context) -> anyhow::Result<()> {
        let answer = context.client.transfer_leader(self.id).await?;
        let term = answer.header.map_or(0, |header| header.term);
        match context.format {
            Format::Text => output::line(&format!("node {} leads", self.id))?,
            Format::Json => output::json(&json!({ "leader": self.id, "term": term }))?,
        }
        Ok(())
    }
}

pub(super) async fn snapshot(context: &Context) -> anyhow::Result<()> {
    let answer = context.client.snapshot().await?;
    let node = answer.header.map_or(0, |header| header.node_id);
    let index = answer.snapshot_index;
    match context.format {
        Format::Text => {
            output::line(&format!("node {node} built a snapshot up to log index {index}"))?;
        }
        Format::Json => output::json(&json!({ "node": node, "snapshot_index": index }))?,
    }
    Ok(())
}

fn show(context: &Context, what: &str, members: &[Member]) -> anyhow::Result<()> {
    match context.format {
        Format::Text => output::line(&format!("{what}\n\n{}", members::table(members, 0)))?,
        Format::Json => output::json(&json!({ "members": json::members(members) }))?,
    }
    Ok(())
}

fn nodes(ids: &[u64]) -> String {
    let noun = if ids.len() == 1 { "node" } else { "nodes" };
    let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
    format!("{noun} {}", ids.join(", "))
}
