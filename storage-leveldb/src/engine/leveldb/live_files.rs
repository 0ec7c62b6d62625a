//! Before LevelDB opens a database: every table that its MANIFEST names is there, and as long as it says.
//!
//! LevelDB looks as well, and says only that something is missing.

use std::path::Path;

use super::env::DurableEnv;
use super::manifest::LiveFiles;
use crate::disk::GuardedDisk;
use crate::file::framed_reader::read_stream;
use crate::file::paged::file_len_of;
use crate::health::Fault;

/// # Errors
/// The first table that is missing, or what is wrong with CURRENT or MANIFEST. A directory without CURRENT is new.
pub(super) fn expect(disk: &GuardedDisk, dir: &Path, env: &DurableEnv) -> Result<(), Fault> {
    let current = dir.join("CURRENT");
    let Some(name) = read_stream(disk, &current, env.tail(&current))? else {
        return Ok(());
    };
    let name = String::from_utf8_lossy(&name);
    let manifest = dir.join(name.trim_end());
    let stream = read_stream(disk, &manifest, env.tail(&manifest))?;
    let stream = stream.ok_or_else(|| disk.damaged(&manifest, "missing, although CURRENT names it"))?;
    let live = LiveFiles::read(&stream).map_err(|reason| disk.damaged(&manifest, reason))?;
    for (number, payload_len) in &live.tables {
        let table = dir.join(format!("{number:06}.ldb"));
        let len = disk.len(&table)?;
        if len.is_none() {
            return Err(disk.damaged(&table, "missing, although MANIFEST names it"));
        }
        if len != file_len_of(*payload_len) {
            return Err(disk.damaged(&table, "not as long as MANIFEST says"));
        }
    }
    Ok(())
}
