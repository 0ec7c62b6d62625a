//! `kvcli cluster status`: a report as a table, or as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::report::Report;
use super::survey::{Node, Survey};
use crate::cli::Context;
use crate::output::{self, Format};
use crate::table::{Align, Table};
use crate::units;

pub(super) async fn run(context: &Context) -> anyhow::Result<()> {
    let report = Report::new(Survey::conduct(&context.client).await?);
    match context.format {
        Format::Text => output::line(&text(&report))?,
        Format::Json => output::json(&as_json(&report))?,
    }
    Ok(())
}

fn text(report: &Report) -> String {
    let mut text = format!("leader  {}\nhealth  {}\n\n{}", leader(report), report.health(), table(report));
    for (node, complaint) in complaints(report) {
        let name = match node.id() {
            Some(id) => format!("node {id}"),
            None => node.member.client_addr.clone(),
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n! {name}: {}", output::escaped(complaint.as_bytes()));
    }
    text
}

fn leader(report: &Report) -> String {
    match report.leader() {
        Some(node) => {
            let term = node.status().map_or(0, |status| status.term);
            let address = output::escaped(node.member.client_addr.as_bytes());
            format!("node {} at {address}, term {term}", node.member.id)
        }
        None => "none".to_owned(),
    }
}

fn complaints(report: &Report) -> impl Iterator<Item = (&Node, String)> {
    report.survey.nodes.iter().filter_map(|node| Some((node, node.complaint()?)))
}

fn table(report: &Report) -> Table {
    let mut table = Table::new([
        ("ID", Align::Right),
        ("ROLE", Align::Left),
        ("TERM", Align::Right),
        ("LAST", Align::Right),
        ("COMMITTED", Align::Right),
        ("APPLIED", Align::Right),
        ("LAG", Align::Right),
        ("DB SIZE", Align::Right),
        ("CLIENT ADDRESS", Align::Left),
        ("RAFT ADDRESS", Align::Left),
    ]);
    for node in &report.survey.nodes {
        table.row(cells(report, node));
    }
    table
}

fn cells(report: &Report, node: &Node) -> [String; 10] {
    let status = node.status();
    [
        or_dash(node.id()),
        node.role().to_owned(),
        or_dash(status.map(|s| s.term)),
        or_dash(status.map(|s| s.last_log_index)),
        or_dash(status.map(|s| s.committed_index)),
        or_dash(status.map(|s| s.applied_index)),
        or_dash(report.lag(node)),
        or_dash(status.map(|s| units::bytes(s.log_size_bytes.saturating_add(s.state_size_bytes)))),
        text_or_dash(&node.member.client_addr),
        text_or_dash(&node.member.raft_addr),
    ]
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn text_or_dash(address: &str) -> String {
    if address.is_empty() { "-".to_owned() } else { output::escaped(address.as_bytes()) }
}

fn as_json(report: &Report) -> Value {
    let leader = report.leader().map(|node| {
        let term = node.status().map_or(0, |status| status.term);
        json!({ "id": node.member.id, "client_addr": node.member.client_addr, "term": term })
    });
    let nodes: Vec<_> = report.survey.nodes.iter().map(|node| node_json(report, node)).collect();
    json!({
        "health": report.health().name(),
        "initialized": report.survey.initialized,
        "leader": leader,
        "nodes": nodes,
    })
}

fn node_json(report: &Report, node: &Node) -> Value {
    let status = node.status();
    json!({
        "id": node.id(),
        "voter": node.member.voter,
        "reachable": status.is_some(),
        "role": status.map(|_| node.role()),
        "problem": node.complaint(),
        "version": status.map(|s| &s.version),
        "term": status.map(|s| s.term),
        "last_log_index": status.map(|s| s.last_log_index),
        "committed_index": status.map(|s| s.committed_index),
        "applied_index": status.map(|s| s.applied_index),
        "snapshot_index": status.map(|s| s.snapshot_index),
        "purged_index": status.map(|s| s.purged_index),
        "lag_entries": report.lag(node),
        "log_size_bytes": status.map(|s| s.log_size_bytes),
        "state_size_bytes": status.map(|s| s.state_size_bytes),
        "client_addr": node.member.client_addr,
        "raft_addr": node.member.raft_addr,
    })
}
