//! A small file with one value in it, replaced atomically.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::framed::FramedWriter;
use super::framed_reader::{Tail, read_stream};
use crate::disk::GuardedDisk;
use crate::health::Fault;

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

/// Replaces the content; durable when it returns, and a crash leaves the old content or the new.
pub(crate) fn replace(disk: &GuardedDisk, path: &Path, content: &[u8]) -> Result<(), Fault> {
    let temporary = temporary(path);
    let mut writer = FramedWriter::create(disk, &temporary)?;
    writer.write(content)?;
    writer.sync()?;
    drop(writer);
    disk.rename(&temporary, path)
}

/// The content; `None` if there is no such file.
pub(crate) fn read(disk: &GuardedDisk, path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    read_stream(disk, path, Tail::Complete)
}

/// Replaces the content by the codec bytes of `value`, as [`replace`] does. The first of its fields
/// is its format, a byte.
pub(crate) fn replace_value(disk: &GuardedDisk, path: &Path, value: &impl Serialize) -> Result<(), Fault> {
    let content = codec::encode(value).map_err(|e| disk.damaged(path, e))?;
    replace(disk, path, &content)
}

/// The value; `None` if there is no such file. One of another format is not decoded: `what` it is
/// of says the fault.
pub(crate) fn read_value<T: DeserializeOwned>(
    disk: &GuardedDisk,
    path: &Path,
    what: &str,
    format: u8,
) -> Result<Option<T>, Fault> {
    let Some(content) = read(disk, path)? else {
        return Ok(None);
    };
    if content.first() != Some(&format) {
        let reason = format!("{what} format {:?}; this version reads format {format} only", content.first());
        return Err(disk.other_format(path, reason));
    }
    codec::decode(&content).map(Some).map_err(|e| disk.damaged(path, e))
}
