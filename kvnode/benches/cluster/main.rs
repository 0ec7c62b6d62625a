//! Puts and gets of a cluster of three on this machine, beside a server that only answers.
//!
//! ```text
//! cargo bench -p kvnode --bench cluster               the matrix, some two minutes
//! cargo bench -p kvnode --bench cluster -- --smoke    fails if the cluster is far too slow
//! cargo bench -p kvnode --bench cluster -- --store    what later runs are compared with
//! ```
//!
//! Both are asked by `kvcli bench`, in turn at each point, so that a slow moment of the machine
//! hits both: read the ratios. What is stored lies in `target/`, since it is of this machine only.
//! Nothing else may run meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]

mod echo;
mod measured;
mod playground;

use measured::{Measured, Point};
use playground::Playground;

/// A smoke run finds what makes the cluster several times slower, on any machine.
const SMOKE_LEAST_OF_ECHO: [(&str, f64); 2] = [("put", 0.04), ("get", 0.15)];

struct Options {
    clients: &'static [u64],
    seconds: u64,
    smoke: bool,
    store: bool,
}

fn main() {
    let given = |name: &str| std::env::args().any(|arg| arg == name);
    let smoke = given("--smoke");
    let options = Options {
        clients: if smoke { &[256] } else { &[1, 16, 64, 256, 1024] },
        seconds: if smoke { 2 } else { 5 },
        smoke,
        store: given("--store"),
    };
    if let Err(reason) = run(&options) {
        eprintln!("{reason}");
        std::process::exit(1);
    }
}

fn run(options: &Options) -> Result<(), String> {
    let echo = echo::start();
    let cluster = Playground::start();
    let mut measured = Measured::default();
    for operation in ["put", "get"] {
        for clients in options.clients {
            let ask = |endpoints: &str| measured::ask(endpoints, operation, *clients, options.seconds);
            let echo = ask(&echo)?;
            let ours = ask(cluster.endpoints())?;
            let point = Point { operation: operation.to_owned(), clients: *clients, ours, echo };
            measured.add(point);
        }
    }
    drop(cluster);
    let stored = Measured::stored();
    measured.print(stored.as_ref());
    if options.store {
        measured.store();
    }
    if options.smoke { measured.check(&SMOKE_LEAST_OF_ECHO) } else { Ok(()) }
}
