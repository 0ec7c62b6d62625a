//! `kvnode restore`: a new cluster of one node, of a backup.

use std::fs::File;
use std::io::BufReader;

use anyhow::Context as _;
use raftnode::Member;
use raftnode::rebuild::{self, AHEAD, RestoreOptions};

use crate::app::KvApplication;
use crate::config::RestoreArgs;
use crate::serve::APPLICATION_NAME;

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
