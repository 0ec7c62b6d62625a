//! `kvcli cluster members`.

use kvcli::wire::Member;
use serde_json::json;

use crate::cli::Context;
use crate::json;
use crate::output::{self, Format};
use crate::table::{Align, Table};

pub(super) async fn run(context: &Context) -> anyhow::Result<()> {
    let answer = context.client.latest_status().await?;
    if !answer.initialized {
        output::note("not initialised; to make a new cluster, run `kvcli cluster init`");
    }
    let leader = answer.header.map_or(0, |header| header.leader_id);
    match context.format {
        Format::Text => output::line(&table(&answer.members, leader).to_string())?,
        Format::Json => output::json(&json!({
            "leader": (leader != 0).then_some(leader),
            "members": json::members(&answer.members),
        }))?,
    }
    Ok(())
}

/// `leader`: 0 if it is not to be marked.
pub(super) fn table(members: &[Member], leader: u64) -> Table {
    let mut table = Table::new([
        ("ID", Align::Right),
        ("KIND", Align::Left),
        ("CLIENT ADDRESS", Align::Left),
        ("RAFT ADDRESS", Align::Left),
    ]);
    for member in members {
        table.row([
            member.id.to_string(),
            kind(member, leader),
            output::escaped(member.client_addr.as_bytes()),
            output::escaped(member.raft_addr.as_bytes()),
        ]);
    }
    table
}

fn kind(member: &Member, leader: u64) -> String {
    let kind = if member.voter { "voter" } else { "learner" };
    let leads = (leader != 0 && member.id == leader).then_some("leads");
    [Some(kind), leads, json::change(member)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
