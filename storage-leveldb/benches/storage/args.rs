//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::pairs::Kind;

/// What `--quick` divides amounts and times by.
const QUICK: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Longest waits for append, vote, get and apply under load
    Stalls,
    /// Applies per second on a large store against an empty one
    Applies,
    /// Durable appends per second by concurrency, against the bare disk
    Appends,
    /// Bytes written to disk per put
    Bytes,
    /// Point reads per second: warm, missing, cold; idle and under writes
    Gets,
    /// Puts while a snapshot is built; memory of building, sending, installing
    Snapshots,
    /// Log size, opening, and replay after a close and after kill -9
    Reopen,
    /// Resident memory, idle and loaded, against the bound from the options
    Memory,
    /// All of them, with a summary
    All,
    #[value(hide = true)]
    ChildFollower,
    #[value(hide = true)]
    ChildWriter,
    #[value(hide = true)]
    ChildMemory,
    #[value(hide = true)]
    ChildBuilder,
}

impl Name {
    pub(crate) fn is_child(self) -> bool {
        matches!(self, Self::ChildFollower | Self::ChildWriter | Self::ChildMemory | Self::ChildBuilder)
    }
}

/// Measures the storage against its requirements
#[derive(Debug, Clone, Parser)]
#[command(name = "bench")]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum)]
    pub(crate) name: Name,
    /// Pairs to load [default: 5000000]
    #[arg(long)]
    pairs: Option<u64>,
    /// Length of one measurement [default: by benchmark]
    #[arg(long)]
    seconds: Option<u64>,
    /// Puts of one measurement [default: by benchmark]
    #[arg(long)]
    puts: Option<u64>,
    /// Size of the state for `snapshots` and `reopen`
    #[arg(long)]
    mib: Option<u64>,
    /// Interleaved rounds
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Threads of `gets`, appenders of `appends` [default: by benchmark]
    #[arg(long, value_delimiter = ',')]
    threads: Option<Vec<usize>>,
    /// What a put does [default: by benchmark]
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Where to make the directory for the data, which is removed at the end [default: the
    /// system's]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// For the random keys
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Everything scaled down to a twentieth
    #[arg(long)]
    pub(crate) quick: bool,
    /// Exit with 1 if a requirement is missed
    #[arg(long)]
    pub(crate) strict: bool,
    /// What `cargo bench` gives to every program that it runs
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn scaled(&self, given: Option<u64>, default: u64) -> u64 {
        given.unwrap_or(if self.quick { (default / QUICK).max(1) } else { default })
    }

    pub(crate) fn pairs(&self) -> u64 {
        self.scaled(self.pairs, 5_000_000)
    }

    /// Whether the number of pairs was given on the command line.
    pub(crate) fn pairs_are_given(&self) -> bool {
        self.pairs.is_some()
    }

    pub(crate) fn seconds(&self, default: u64) -> u64 {
        self.scaled(self.seconds, default)
    }

    pub(crate) fn puts(&self, default: u64) -> u64 {
        self.scaled(self.puts, default)
    }

    pub(crate) fn mib(&self, default: u64) -> u64 {
        self.scaled(self.mib, default)
    }

    pub(crate) fn threads(&self, default: &[usize]) -> Vec<usize> {
        self.threads.clone().unwrap_or_else(|| default.to_vec())
    }

    pub(crate) fn kind(&self, default: Kind) -> Kind {
        self.kind.unwrap_or(default)
    }

    /// Says what is needed to run the same again.
    pub(crate) fn announce(&self) {
        let scale = if self.quick { ", scaled down (--quick)" } else { "" };
        println!("bench {:?}: seed {}, {} rounds{scale}", self.name, self.seed, self.rounds);
    }

    /// The same for another benchmark.
    pub(crate) fn for_name(&self, name: Name) -> Self {
        Self { name, ..self.clone() }
    }
}
