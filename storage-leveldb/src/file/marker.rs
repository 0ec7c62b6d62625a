//! A small file with one value in it, replaced atomically.

use std::path::{Path, PathBuf};

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
