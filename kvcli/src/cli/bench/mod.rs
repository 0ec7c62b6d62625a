//! `kvcli bench`: puts, gets or both, at several numbers of clients, with latencies.
//!
//! `args` is the command line, `workload` what one operation is, `worker` one client, `stage` all
//! clients of one line of the result, until its `end`; `progress` is what is seen meanwhile,
//! `report` the result.

mod args;
mod end;
mod progress;
mod report;
mod stage;
mod tally;
mod worker;
mod workload;

pub(super) use args::BenchArgs;
