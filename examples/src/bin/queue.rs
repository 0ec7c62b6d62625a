//! A queue: what is pushed on any node is popped on any node, once, in the order of the pushes.
//! Start it as often as there are nodes, and make them a cluster:
//!
//! ```text
//! queue --id 1 --data-dir d1 --client-addr n1:6000 --raft-addr n1:7000 --http-addr n1:8000 \
//!     --peers 1=n1:7000/n1:6000,2=n2:7000/n2:6000,3=n3:7000/n3:6000
//! curl -X POST n1:8000/admin/init
//! curl n2:8000/write --json '{"Push": "bread"}'
//! curl n3:8000/read --json '"Waiting"'
//! curl n1:8000/write --json '"Pop"' -H 'client-id: 0123456789abcdef0123456789abcdef' -H 'sequence: 1'
//! ```
//!
//! A pop that carries a client id and a sequence may be sent again: it answers the same item.
//! `bare_openraft` is this queue without the framework.

use clap::Parser;
use raftnode::args::NodeArgs;
use raftnode::{Application, At, KeyRange, Node, ScanLimit, StorageError, Transaction, View};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    Push(String),
    Pop,
}

#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    /// Numbers only grow; they are not without gaps.
    Pushed { number: u64 },
    /// `None`: nothing was waiting.
    Popped(Option<String>),
}

#[derive(Debug, Serialize, Deserialize)]
enum Query {
    /// The first items, in their order.
    Waiting,
}

/// What one answer shows.
const SHOWN: ScanLimit = ScanLimit { pairs: 1000, bytes: 1 << 20 };

/// Items are stored under the position of their push: the order of keys is the order of the queue.
struct Queue;

impl Application for Queue {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Outcome;
    type Query = Query;
    type Answer = Vec<String>;

    fn apply(&self, txn: &mut Transaction, at: At, command: Command) -> Result<Outcome, StorageError> {
        match command {
            Command::Push(item) => {
                txn.store(&at.position.to_be_bytes(), &item)?;
                Ok(Outcome::Pushed { number: at.position })
            }
            Command::Pop => {
                let first = txn.scan(&KeyRange::all(), ScanLimit { pairs: 1, ..SHOWN })?.pop();
                let Some((key, item)) = first else { return Ok(Outcome::Popped(None)) };
                txn.delete(&key);
                Ok(Outcome::Popped(Some(raftnode::decode(&key, &item)?)))
            }
        }
    }

    fn query(&self, view: &mut View, Query::Waiting: Query) -> Result<Vec<String>, StorageError> {
        let items = view.scan(&KeyRange::all(), SHOWN)?;
        items.iter().map(|(key, item)| raftnode::decode(key, item)).collect()
    }
}

/// A replicated queue.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse().node;
    let _log = args.start_log("queue", env!("CARGO_PKG_VERSION"))?;
    let node = Node::builder(Queue).name("queue").version(env!("CARGO_PKG_VERSION"));
    let node = node.http_json().start(args.into()).await?;
    Ok(node.until_stopped().await?)
}
