//! `kvcli backup save`.

use std::path::Path;

use serde_json::json;

use super::partial::Partial;
use super::progress::{Progress, rate};
use super::{file, shown};
use crate::cli::Context;
use crate::output::{self, Format};
use crate::units;

pub(super) const EXPLANATION: &str = "\
Written to FILE.partial, synced, verified, and put in the place of FILE, so that FILE is a whole backup
or what it was before; its owner alone may read it. A backup that breaks off is begun anew by the next
call. The timeout (1m unless given) holds for the first part, and then for each further one.";

pub(super) async fn run(path: &Path, context: &Context) -> anyhow::Result<()> {
    let mut partial = Partial::create(path)?;
    let mut backup = context.client.save_backup().await?;
    let mut progress = Progress::new(backup.expected_bytes());
    while let Some(part) = backup.next_part().await? {
        partial.write(&part)?;
        progress.show(backup.sent_bytes());
    }
    let took = progress.end();
    partial.sync()?;
    // What is on the disk, not what was sent.
    let (mut saved, bytes) = file::open(partial.path())?;
    saved.verify().map_err(|error| file::problem(partial.path(), error))?;
    partial.place()?;
    let state = backup.sent_bytes();
    let (header, rate) = (saved.header(), units::bytes(rate(state, took)));
    let what = format!(
        "saved {} of state to {} in {:.1} s, {rate}/s",
        units::bytes(state),
        path.display(),
        took.as_secs_f64()
    );
    let written = match context.format {
        Format::Text => output::line(&format!("{what}\n\n{}", shown::text(header, bytes))),
        Format::Json => {
            let mut answer = shown::json(header, bytes);
            if let Some(fields) = answer.as_object_mut() {
                fields.insert("seconds".to_owned(), json!(took.as_secs_f64()));
                fields.insert("state_bytes".to_owned(), json!(state));
            }
            output::json(&answer)
        }
    };
    output::done(&what, context.format, written);
    Ok(())
}
