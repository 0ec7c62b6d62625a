//! `all`: every benchmark, one after the other.

use crate::args::{Args, Name};
use crate::requirement::{self, Requirement};
use crate::{appends, applies, bytes_written, gets, memory, reopen, snapshots, stalls};

const NAMES: [Name; 8] = [
    Name::Appends,
    Name::Applies,
    Name::Bytes,
    Name::Gets,
    Name::Stalls,
    Name::Snapshots,
    Name::Reopen,
    Name::Memory,
];

/// Runs one benchmark, or all.
pub(crate) async fn run(args: &Args) -> Vec<Requirement> {
    if args.name != Name::All {
        return one(args).await;
    }
    let mut all = Vec::new();
    for name in NAMES {
        let args = args.for_name(name);
        args.announce();
        let requirements = one(&args).await;
        requirement::print(&requirements);
        all.extend(requirements);
    }
    println!("all:");
    all
}

async fn one(args: &Args) -> Vec<Requirement> {
    match args.name {
        Name::Stalls => stalls::run(args).await,
        Name::Applies => applies::run(args).await,
        Name::Appends => appends::run(args).await,
        Name::Bytes => bytes_written::run(args).await,
        Name::Gets => gets::run(args).await,
        Name::Snapshots => snapshots::run(args).await,
        Name::Reopen => reopen::run(args).await,
        Name::Memory => memory::run(args).await,
        name => unreachable!("{name:?} is no single benchmark"),
    }
}
