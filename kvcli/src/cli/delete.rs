//! `kvcli delete`.

use std::ffi::OsString;

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::Context;
use crate::exit::Problem;
use crate::output::{self, Format};

/// Remove a key
#[derive(Debug, Args)]
#[command(after_help = "Exits with 1 if there is no such key.\n\nExample:\n  kvcli delete greeting")]
pub(super) struct DeleteArgs {
    /// The key
    key: OsString,
}

impl DeleteArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let key = Bytes::from(self.key.into_encoded_bytes());
        let answer = context.client.delete(key.clone()).await?;
        if answer.deleted == 0 {
            return Err(Problem::KeyNotFound(output::escaped(&key)).into());
        }
        let revision = answer.header.map_or(0, |header| header.revision);
        let written = match context.format {
            Format::Text => output::line("OK"),
            Format::Json => output::json(&json!({ "deleted": answer.deleted, "revision": revision })),
        };
        output::done(&format!("the key is deleted, at revision {revision}"), context.format, written);
        Ok(())
    }
}
