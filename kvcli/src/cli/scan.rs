//! `kvcli scan`.

use std::ffi::OsString;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use kvcli::ScanOptions;
use kvcli::wire::Pair;

use super::Context;
use super::get::mode;
use crate::json::JsonPair;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Reads page by page, so that any number of pairs passes through little memory; the timeout holds for
each page. Exits with 0 if there are none.

Examples:
  kvcli scan --prefix user/ --limit 10
  kvcli scan --keys-only | wc -l
  kvcli scan --output json

Text: KEY<TAB>VALUE, one pair per line; a backslash, tab, newline or carriage return is written \\\\, \\t,
\\n, \\r, and any other unprintable byte \\xNN.
JSON: one object per line, as written by `kvcli get --output json`.";

/// List pairs in key order
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ScanArgs {
    /// Only keys that start with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: OsString,
    /// At most this many pairs
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    limit: Option<u64>,
    /// Leave the values out
    #[arg(long)]
    keys_only: bool,
    /// Accept old data from the first node that answers, leader or not
    #[arg(long)]
    stale: bool,
}

impl ScanArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let options = ScanOptions {
            prefix: self.prefix.into_encoded_bytes().into(),
            limit: self.limit,
            keys_only: self.keys_only,
            mode: mode(self.stale),
        };
        let mut scan = context.client.scan(options).await?;
        while let Some(pairs) = scan.next_page().await? {
            write_page(&pairs, self.keys_only, context.format)?;
        }
        Ok(())
    }
}

/// One write per page: a write per line would be slow, and a page is bounded.
fn write_page(pairs: &[Pair], keys_only: bool, format: Format) -> anyhow::Result<()> {
    let mut page = Vec::new();
    for pair in pairs {
        match format {
            Format::Text => page.extend(text(pair, keys_only).into_bytes()),
            Format::Json => serde_json::to_writer(&mut page, &JsonPair { pair, keys_only })?,
        }
        page.push(b'\n');
    }
    output::write(&page)?;
    Ok(())
}

fn text(pair: &Pair, keys_only: bool) -> String {
    let key = output::escaped(&pair.key);
    if keys_only { key } else { format!("{key}\t{}", output::escaped(&pair.value)) }
}
