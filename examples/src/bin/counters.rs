//! Counters by name, which commands add to. The README shows this program, so it stays short.

use clap::Parser;
use raftnode::{Application, At, Node, StorageError, Transaction, View, args::NodeArgs};

struct Counters;

impl Application for Counters {
    const SCHEMA: u32 = 1;
    type Command = (String, u64);
    type Response = u64;
    type Query = String;
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction, _: At, (name, add): Self::Command) -> Result<u64, StorageError> {
        let sum = txn.load(name.as_bytes())?.unwrap_or(0_u64).saturating_add(add);
        txn.store(name.as_bytes(), &sum)?;
        Ok(sum)
    }

    fn query(&self, view: &mut View, name: String) -> Result<u64, StorageError> {
        Ok(view.load(name.as_bytes())?.unwrap_or(0))
    }
}

/// Replicated counters
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse().node;
    let _log = args.start_log("counters", env!("CARGO_PKG_VERSION"))?;
    Ok(Node::builder(Counters).http_json().start(args.into()).await?.until_stopped().await?)
}
