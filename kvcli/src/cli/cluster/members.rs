//! `kvcli cluster members`.

use kvcli::wire::Member;
use serde_json::json;

use super::survey;
use crate::cli::Context;
use crate::json;
use crate::output::{self, Format};
use crate::table::{Align, Table};

pub(super) async fn run(context: &Context) -> anyhow::Result<()> {
    let answer = survey::latest(&context.client).await?;
    if !answer.initialized {
        output::note("the cluster is not initialised; run `kvcli cluster init`");
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
        let kind = match member.voter {
            true if member.id == leader => "voter, leads",
            true => "voter",
            false => "learner",
        };
        table.row([
            member.id.to_string(),
            kind.to_owned(),
            output::escaped(member.client_addr.as_bytes()),
            output::escaped(member.raft_addr.as_bytes()),
        ]);
    }
    table
}
