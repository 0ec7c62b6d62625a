use clap::Parser;
use raftnode::args::NodeArgs;
use raftnode::{Application, At, Node, StorageError, Transaction, View};
use serde::{Deserialize, Serialize};

/// What is asked to be done.
#[derive(Serialize, Deserialize)]
enum Command {
    Deliver { item: String, count: u64 },
    Take { item: String, count: u64 },
}

/// What is answered once it is done.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Response {
    Left(u64),
    TooFew { left: u64 },
}

/// What can be asked.
#[derive(Serialize, Deserialize)]
enum Query {
    Left(String),
}

struct Stockroom;

impl Application for Stockroom {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Response;
    type Query = Query;
    type Answer = u64;

    fn apply(
        &self,
        txn: &mut Transaction<'_, '_>,
        _: At,
        command: Command,
    ) -> Result<Response, StorageError> {
        let (Command::Deliver { item, .. } | Command::Take { item, .. }) = &command;
        let key = item.clone().into_bytes();
        let stored: u64 = txn.load(&key)?.unwrap_or(0);
        let left = match command {
            Command::Deliver { count, .. } => stored.saturating_add(count),
            Command::Take { count, .. } => match stored.checked_sub(count) {
                Some(left) => left,
                None => return Ok(Response::TooFew { left: stored }),
            },
        };
        txn.store(&key, &left)?;
        Ok(Response::Left(left))
    }

    fn query(&self, view: &mut View<'_, '_>, query: Query) -> Result<u64, StorageError> {
        let Query::Left(item) = query;
        Ok(view.load(item.as_bytes())?.unwrap_or(0))
    }

    /// One key is read at once. A query that may read many says `true` and runs on a thread of its
    /// own.
    fn is_long(_: &Query) -> bool {
        false
    }
}

/// A replicated stockroom.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse().node;
    let _log = args.start_log("stockroom", env!("CARGO_PKG_VERSION"))?;
    let node = Node::builder(Stockroom).name("stockroom").version(env!("CARGO_PKG_VERSION"));
    let node = node.http_json().start(args.into()).await?;
    Ok(node.until_stopped().await?)
}
