//! `kvnode restore`: a new cluster of one node, of a backup.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use raftnode::Member;
use raftnode::config::{Address, AddressError};
use raftnode::rebuild::{self, AHEAD, RestoreOptions};

use crate::app::{APPLICATION_NAME, KvApplication};

const AFTER_HELP: &str = "\
The new cluster has an id of its own, and this node alone; others join it as usual. Revisions go on
1,073,741,824 behind those of the backup, so that none is seen again with other content. A restore
that was interrupted is begun anew, or finished, by the same command; until then no node starts on
the directory (docs/operations/backup.md).

Exit codes: 0 done; 3 bad arguments, a directory that is not empty, or a file that is not a whole
backup of this program; 1 anything else.";

/// `kvnode restore`.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Where the node will store; empty or not there
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The node's id, a number from 1 up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub id: u64,
    /// Where the other nodes will reach it
    #[arg(long, value_name = "HOST:PORT", value_parser = dialable)]
    pub raft_addr: Address,
    /// Where clients will reach it
    #[arg(long, value_name = "HOST:PORT", value_parser = dialable)]
    pub client_addr: Address,
}

/// An address that others can use.
fn dialable(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|e: AddressError| e.to_string())?;
    match address.is_undialable() {
        true => Err("others cannot dial it; give the address that `serve` will advertise".to_owned()),
        false => Ok(address),
    }
}

/// Restores, and prints what to do next.
///
/// # Errors
/// Why there is no new cluster.
pub(crate) fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let RestoreArgs { from, data_dir, id, raft_addr, client_addr } = args;
    let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let options = RestoreOptions {
        application: APPLICATION_NAME.to_owned(),
        data_dir: data_dir.clone(),
        node_id: *id,
        member: Member::at(raft_addr.to_string(), client_addr.to_string()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let restored = rebuild::restore(KvApplication, BufReader::new(file), options);
    let rebuilt = runtime.block_on(restored)?;
    println!(
        "restored as cluster {}, whose only member is node {}; revisions go on {AHEAD} behind those of the backup\n\
         start it without --peers: kvnode serve --id {} --data-dir {} --client-addr {client_addr} --raft-addr {raft_addr} \
         --http-addr HOST:PORT",
        rebuilt.cluster_id,
        rebuilt.node_id,
        rebuilt.node_id,
        data_dir.display()
    );
    Ok(())
}
