//! `kvcli put`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use kvcli::{ClientError, MAX_VALUE_BYTES};
use rustix::fs::OFlags;
use serde_json::json;

use super::Context;
use crate::exit::Problem;
use crate::output::{self, Format};

const USAGE: &str = "\
kvcli put [OPTIONS] <KEY> <VALUE>
       kvcli put [OPTIONS] <KEY> -
       kvcli put [OPTIONS] <KEY> --file <FILE>";

const EXAMPLES: &str = "\
Keys are 1 to 4096 bytes, values 0 to 1 MiB, both arbitrary bytes. A put that is retried after a
lost connection is applied once.

Examples:
  kvcli put greeting hello
  kvcli put logo --file logo.png
  date | kvcli put now -
  kvcli put -- -key -value        a key and a value that begin with a dash";

/// Store a value under a key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(super) struct PutArgs {
    /// The key
    key: OsString,
    /// The value; `-` reads it from standard input
    #[arg(required_unless_present = "file", allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Read the value from this file, byte for byte
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    file: Option<PathBuf>,
}

impl PutArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let value = value(self.value, self.file)?;
        let answer = context.client.put(self.key.into_encoded_bytes(), value).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let written = match context.format {
            Format::Text => output::line("OK"),
            Format::Json => output::json(&json!({ "revision": revision })),
        };
        let change = format!("the value is stored, at revision {revision}");
        output::done(&change, context.format, written);
        Ok(())
    }
}

fn value(argument: Option<OsString>, file: Option<PathBuf>) -> anyhow::Result<Bytes> {
    if let Some(path) = file {
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        return read(file).with_context(|| format!("value from {}", path.display()));
    }
    match argument {
        Some(dash) if dash == "-" => {
            refuse_closed(&io::stdin())?;
            read(io::stdin().lock()).context("value from standard input")
        }
        Some(value) => Ok(value.into_encoded_bytes().into()),
        None => Ok(Bytes::new()),
    }
}

/// A standard input that was closed is the null device, opened for reading and writing: Rust's
/// runtime sees to that before `main`. It would read as an empty value, which nothing meant to
/// store.
fn refuse_closed(stdin: &io::Stdin) -> anyhow::Result<()> {
    let is_null = match (rustix::fs::fstat(stdin), std::fs::metadata("/dev/null")) {
        (Ok(stdin), Ok(null)) => stdin.st_rdev == null.rdev(),
        _ => false,
    };
    let mode = rustix::fs::fcntl_getfl(stdin).map(|flags| flags & OFlags::RWMODE);
    if is_null && mode == Ok(OFlags::RDWR) {
        return Err(Problem::BadArguments(
            "standard input is closed, and nothing was stored; for an empty value give '' in place of -"
                .to_owned(),
        )
        .into());
    }
    Ok(())
}

/// Reads a value, and no more than shows that it is too long.
fn read(source: impl Read) -> anyhow::Result<Bytes> {
    let mut value = Vec::new();
    source.take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut value).context("cannot read")?;
    let bytes = value.len();
    if bytes > MAX_VALUE_BYTES {
        return Err(ClientError::ValueLength { bytes, at_least: true }.into());
    }
    Ok(value.into())
}
