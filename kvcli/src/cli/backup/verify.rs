//! `kvcli backup verify`.

use std::path::Path;

use super::{file, shown};
use crate::output::{self, Format};
use crate::units;

pub(super) fn run(path: &Path, format: Format) -> anyhow::Result<()> {
    let (mut backup, bytes) = file::open(path)?;
    backup.verify().map_err(|error| file::problem(path, error))?;
    match format {
        Format::Text => output::line(&format!(
            "{}: every byte of {} is right\n\n{}",
            path.display(),
            units::bytes(bytes),
            shown::text(backup.header(), bytes)
        ))?,
        Format::Json => output::json(&shown::json(backup.header(), bytes))?,
    }
    Ok(())
}
