//! `kvcli backup list`.

use std::path::Path;

use super::{file, shown};
use crate::output::{self, Format};

pub(super) fn run(path: &Path, format: Format) -> anyhow::Result<()> {
    let (backup, bytes) = file::open(path)?;
    match format {
        Format::Text => output::line(&shown::text(backup.header(), bytes))?,
        Format::Json => output::json(&shown::json(backup.header(), bytes))?,
    }
    Ok(())
}
