//! What was measured, shown beside what was stored.

use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Keys that gets read and puts write.
const KEY_SPACE: &str = "10000";

/// All points of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    points: Vec<Point>,
}

/// One operation by so many clients.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) operation: String,
    pub(crate) clients: u64,
    pub(crate) ours: Figures,
    pub(crate) echo: Figures,
}

/// As `kvcli bench` tells them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    per_second: f64,
    p50_micros: u64,
    p99_micros: u64,
    /// Processor time of all nodes for each operation.
    processor_micros: Option<f64>,
}

/// Asks the servers at `endpoints`.
///
/// # Errors
/// What `kvcli` said.
pub(crate) fn ask(endpoints: &str, operation: &str, clients: u64, seconds: u64) -> Result<Figures, String> {
    let kvcli = PathBuf::from(env!("CARGO_BIN_EXE_kvnode")).with_file_name("kvcli");
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
    let output = Command::new(&kvcli)
        .args(["--endpoints", endpoints, "--output", "json", "bench", operation, "--clients", &clients])
        .args(["--seconds", &seconds, "--key-space", KEY_SPACE])
        .output();
    let output = output.map_err(|e| {
        format!("{}: {e}; build it first: cargo build --release -p kvnode-client", kvcli.display())
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(&said)
        .map_err(|e| format!("kvcli bench: {e}: {said} {}", String::from_utf8_lossy(&output.stderr)))?;
    let stage = &json["stages"][0];
    if stage["errors"] != 0 {
        return Err(format!("{operation} with {clients} clients failed: {stage}"));
    }
    let latency = |name: &str| stage["latency_micros"][name].as_u64().unwrap_or(0);
    Ok(Figures {
        per_second: stage["ops_per_second"].as_f64().unwrap_or(0.0),
        p50_micros: latency("p50"),
        p99_micros: latency("p99"),
        processor_micros: stage["nodes_processor_micros_per_operation"].as_f64(),
    })
}

impl Measured {
    pub(crate) fn add(&mut self, point: Point) {
        eprintln!("{} with {} clients is measured", point.operation, point.clients);
        self.points.push(point);
    }

    /// A line for each point; the last column is how many times the stored rate this one is.
    pub(crate) fn print(&self, stored: Option<&Self>) {
        println!("op   clients     ops/s  of echo  p50 ms  p99 ms  CPU us/op  of stored");
        for Point { operation, clients, ours, echo } in &self.points {
            let before = stored.and_then(|stored| stored.find(operation, *clients));
            println!(
                "{operation:<4} {clients:>7} {:>9.0} {:>8.2} {:>7.2} {:>7.2} {:>10} {:>10}",
                ours.per_second,
                ours.per_second / echo.per_second,
                ours.p50_micros as f64 / 1000.0,
                ours.p99_micros as f64 / 1000.0,
                ours.processor_micros.map_or_else(|| "-".to_owned(), |micros| format!("{micros:.1}")),
                before.map_or_else(
                    || "-".to_owned(),
                    |before| format!("{:.2}", ours.per_second / before.ours.per_second)
                ),
            );
        }
    }

    fn find(&self, operation: &str, clients: u64) -> Option<&Point> {
        self.points.iter().find(|point| point.operation == operation && point.clients == clients)
    }

    /// # Errors
    /// A point is below its least share of the echo's rate.
    pub(crate) fn check(&self, least: &[(&str, f64)]) -> Result<(), String> {
        for (operation, share) in least {
            let points = self.points.iter().filter(|point| point.operation == *operation);
            for Point { clients, ours, echo, .. } in points {
                let found = ours.per_second / echo.per_second;
                if found < *share {
                    return Err(format!(
                        "{operation} with {clients} clients: {found:.3} of the echo's rate; at least {share} is expected"
                    ));
                }
            }
        }
        Ok(())
    }

    fn file() -> PathBuf {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cluster-bench.json")
    }

    /// What an earlier run stored on this machine.
    pub(crate) fn stored() -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(Self::file()).ok()?).ok()
    }

    pub(crate) fn store(&self) {
        let text = serde_json::to_string_pretty(self).expect("numbers and names");
        std::fs::write(Self::file(), text).unwrap_or_else(|e| panic!("{}: {e}", Self::file().display()));
        println!("stored in {}", Self::file().display());
    }
}
