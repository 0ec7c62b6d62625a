//! `kvcli get`.

use std::ffi::OsString;

use bytes::Bytes;
use clap::Args;
use kvcli::ReadMode;

use super::Context;
use crate::exit::Problem;
use crate::json::JsonPair;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Writes the value and a newline to standard output, nothing else. Exits with 1 if there is no such
key.

Examples:
  kvcli get greeting
  kvcli get logo > logo.png       the value and one newline
  kvcli get greeting --output json

JSON: {\"key\", \"value\", \"create_revision\", \"mod_revision\", \"version\"}; bytes that are not UTF-8 stand in
base64 under \"key_base64\" and \"value_base64\" instead.";

/// Write the value stored under a key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GetArgs {
    /// The key
    key: OsString,
    /// Accept an old value from the first node that answers, leader or not
    #[arg(long)]
    stale: bool,
}

impl GetArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let key = Bytes::from(self.key.into_encoded_bytes());
        let answer = context.client.get(key.clone(), mode(self.stale)).await?;
        let Some(pair) = answer.pair else {
            return Err(Problem::KeyNotFound(output::escaped(&key)).into());
        };
        match context.format {
            Format::Text => output::write(&[&pair.value, &b"\n"[..]].concat())?,
            Format::Json => output::json(&JsonPair { pair: &pair, keys_only: false })?,
        }
        Ok(())
    }
}

pub(super) fn mode(stale: bool) -> ReadMode {
    if stale { ReadMode::Stale } else { ReadMode::Linearizable }
}
