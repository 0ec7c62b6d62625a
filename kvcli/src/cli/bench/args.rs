//! The command line of the benchmark, and the order of its stages.

use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

use super::end::End;
use super::report;
use super::stage::Stage;
use super::workload::{Kind, Workload};
use crate::cli::Context;
use crate::exit::Problem;
use crate::output;

/// More clients than this measure the benchmark's own machine.
const MAX_CLIENTS: u64 = 4096;
/// Keys read must have been written; this many are, at 10,000 puts/s, in 17 minutes.
const MAX_KEY_SPACE: u64 = 10_000_000;
const MAX_SECONDS: u64 = 86_400;
const MAX_OPS: u64 = 10_000_000_000;
/// Clients that store the keys before gets are measured.
const LOADING_CLIENTS: u64 = 128;

const EXAMPLES: &str = "\
One line of result per number of clients. Gets are linearizable.

Examples:
  kvcli bench
  kvcli bench get --clients 16,64 --seconds 10
  kvcli bench mixed --clients 64 --ops 100000 --output json

Keys are `bench/` and a number, and stay in the store. Each client has a session of its own and one
operation in flight; 16 clients share a connection, up to 8 connections per node. Latencies are those
of operations that succeeded, in milliseconds. CPU us/OP is the processor time of all nodes together
for each of them, in microseconds; `-` if a node did not say.";

/// Measure throughput and latency
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What to measure: put, get, or mixed
    #[arg(value_enum, default_value_t = Mode::Put, hide_possible_values = true)]
    workload: Mode,
    /// Numbers of concurrent clients, one stage each; 1 to 4096
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256", value_name = "N,...",
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=MAX_CLIENTS))]
    clients: Vec<u64>,
    /// Length of each stage
    #[arg(long, default_value_t = 5, value_name = "S", conflicts_with = "ops",
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=MAX_SECONDS))]
    seconds: u64,
    /// End each stage after this many operations instead
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u64>::new().range(1..=MAX_OPS))]
    ops: Option<u64>,
    /// Bytes per key
    #[arg(long, default_value_t = 16, value_name = "BYTES",
        value_parser = RangedU64ValueParser::<usize>::new().range(8..=kvcli::MAX_KEY_BYTES as u64))]
    key_size: usize,
    /// Bytes per value
    #[arg(long, default_value_t = 256, value_name = "BYTES",
        value_parser = RangedU64ValueParser::<usize>::new().range(0..=kvcli::MAX_VALUE_BYTES as u64))]
    value_size: usize,
    /// Different keys; get and mixed store them all first
    #[arg(long, default_value_t = 100_000, value_name = "N",
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=MAX_KEY_SPACE))]
    key_space: u64,
    /// Share of gets in a mixed workload
    #[arg(long, default_value_t = 50, value_name = "PERCENT",
        value_parser = RangedU64ValueParser::<u8>::new().range(0..=100))]
    read_percent: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    Put,
    Get,
    Mixed,
}

impl BenchArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let workload = self.workload(match self.workload {
            Mode::Put => Kind::Mixed { read_percent: 0 },
            Mode::Get => Kind::Mixed { read_percent: 100 },
            Mode::Mixed => Kind::Mixed { read_percent: self.read_percent },
        })?;
        if self.workload != Mode::Put {
            self.load(context).await?;
        }
        let mut tallies = Vec::new();
        for clients in &self.clients {
            let label = self.label();
            let stage = Stage { label, clients: *clients, end: self.end(), workload: workload.clone() };
            tallies.push(stage.run(&context.client).await?);
        }
        report::write(&self.title(), &self.label(), &tallies, context.format)?;
        // All stages failed alike: say it with the exit code too.
        match tallies.into_iter().find_map(|tally| tally.fruitless()) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Stores every key once.
    async fn load(&self, context: &Context) -> anyhow::Result<()> {
        let stage = Stage {
            label: "storing keys".to_owned(),
            clients: LOADING_CLIENTS.min(self.key_space),
            end: End::Operations(self.key_space),
            workload: self.workload(Kind::StoreEach)?,
        };
        let tally = stage.run(&context.client).await?;
        match tally.first_error {
            Some(error) => Err(error.into()),
            None => {
                output::note(&format!("{} keys stored", crate::units::thousands(self.key_space)));
                Ok(())
            }
        }
    }

    fn workload(&self, kind: Kind) -> Result<Workload, Problem> {
        Workload::new(kind, self.key_size, self.value_size, self.key_space)
    }

    fn end(&self) -> End {
        match self.ops {
            Some(operations) => End::Operations(operations),
            None => End::After(Duration::from_secs(self.seconds)),
        }
    }

    fn label(&self) -> String {
        match self.workload {
            Mode::Put => "put".to_owned(),
            Mode::Get => "get".to_owned(),
            Mode::Mixed => format!("mixed, {}% get", self.read_percent),
        }
    }

    fn title(&self) -> String {
        format!(
            "{}: {}-byte keys, {}-byte values, {} keys, {} per stage",
            self.label(),
            self.key_size,
            self.value_size,
            crate::units::thousands(self.key_space),
            match self.end() {
                End::After(time) => format!("{} s", time.as_secs()),
                End::Operations(count) => format!("{} operations", crate::units::thousands(count)),
            }
        )
    }
}
