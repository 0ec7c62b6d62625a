//! What a directory's root says that a LevelDB consists of: every table that its MANIFEST names is
//! there, and as long as it says.
//!
//! LevelDB looks as well before it opens a database, and says only that something is missing.

use std::path::Path;

use super::manifest::LiveFiles;
use crate::disk::GuardedDisk;
use crate::file::framed_reader::{Tail, read_stream};
use crate::file::paged::file_len_of;
use crate::health::Fault;

/// `tail` tells what may be wrong at the end of a framed file. `None`: there is no CURRENT.
///
/// # Errors
/// The first table that is missing, or what is wrong with CURRENT or MANIFEST.
pub(super) fn read(
    disk: &GuardedDisk,
    dir: &Path,
    tail: impl Fn(&Path) -> Result<Tail, Fault>,
) -> Result<Option<LiveFiles>, Fault> {
    let current = dir.join("CURRENT");
    let Some(name) = read_stream(disk, &current, tail(&current)?)? else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(&name);
    let manifest = dir.join(name.trim_end());
    let stream = read_stream(disk, &manifest, tail(&manifest)?)?;
    let stream = stream.ok_or_else(|| disk.damaged(&manifest, "missing, although CURRENT names it"))?;
    let live = LiveFiles::read(&stream).map_err(|reason| disk.damaged(&manifest, reason))?;
    for (number, told) in &live.tables {
        let table = dir.join(table_name(*number));
        let len = disk.len(&table)?;
        if len.is_none() {
            return Err(disk.damaged(&table, "missing, although MANIFEST names it"));
        }
        if len != file_len_of(told.payload_bytes) {
            return Err(disk.damaged(&table, "not as long as MANIFEST says"));
        }
    }
    Ok(Some(live))
}

/// The file of a table.
pub(super) fn table_name(number: u64) -> String {
    format!("{number:06}.ldb")
}
