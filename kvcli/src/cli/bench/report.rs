//! The result of a benchmark, as a table or as JSON.

use serde_json::{Value, json};

use super::tally::Tally;
use crate::output::{self, Format};
use crate::table::{Align, Table};
use crate::units::{millis, thousands};

/// Writes the result to stdout; `title` describes the run, `label` its workload.
pub(super) fn write(title: &str, label: &str, tallies: &[Tally], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => output::line(&format!("{title}\n\n{}", table(tallies)))?,
        Format::Json => output::json(&json!({
            "workload": label,
            "description": title,
            "stages": tallies.iter().map(stage_json).collect::<Vec<_>>(),
        }))?,
    }
    for tally in tallies {
        if let Some(error) = &tally.first_error {
            output::note(&format!("! {} clients, first error: {error}", tally.clients));
        }
    }
    Ok(())
}

fn table(tallies: &[Tally]) -> Table {
    use Align::Right;
    let mut table = Table::new([
        ("CLIENTS", Right),
        ("OPS/S", Right),
        ("MEAN ms", Right),
        ("P50 ms", Right),
        ("P99 ms", Right),
        ("P99.9 ms", Right),
        ("MAX ms", Right),
        ("CPU us/OP", Right),
        ("ERRORS", Right),
    ]);
    for tally in tallies {
        table.row(cells(tally));
    }
    table
}

fn cells(tally: &Tally) -> [String; 9] {
    let latencies = &tally.latencies;
    let latency = |micros| {
        if tally.operations() == 0 { "-".to_owned() } else { millis(micros) }
    };
    [
        tally.clients.to_string(),
        thousands(tally.per_second() as u64),
        latency(latencies.mean() as u64),
        latency(latencies.value_at_quantile(0.5)),
        latency(latencies.value_at_quantile(0.99)),
        latency(latencies.value_at_quantile(0.999)),
        latency(latencies.max()),
        tally.nodes_micros_each().map_or_else(|| "-".to_owned(), |micros| format!("{micros:.1}")),
        thousands(tally.errors),
    ]
}

fn stage_json(tally: &Tally) -> Value {
    let latencies = &tally.latencies;
    json!({
        "clients": tally.clients,
        "connections_per_node": tally.connections,
        "seconds": tally.took.as_secs_f64(),
        "operations": tally.operations(),
        "ops_per_second": tally.per_second(),
        "errors": tally.errors,
        "nodes_processor_micros_per_operation": tally.nodes_micros_each(),
        "latency_micros": {
            "mean": latencies.mean(),
            "p50": latencies.value_at_quantile(0.5),
            "p99": latencies.value_at_quantile(0.99),
            "p99_9": latencies.value_at_quantile(0.999),
            "max": latencies.max(),
        },
    })
}
