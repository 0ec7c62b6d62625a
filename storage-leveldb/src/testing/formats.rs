//! The file formats from bytes to bytes, for the fuzz targets in `tests/fuzz/`: no database around
//! them.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::SimDisk;
use crate::disk::{Disk, GuardedDisk, read_all};
use crate::file::framed::FramedWriter;
use crate::file::framed_reader::{FramedReader, Tail, decode, last_payload};
use crate::file::marker;
use crate::file::paged::{PagedReader, PagedWriter};
use crate::file::u64_at;
use crate::file::witness::Claim;
use crate::health::Fault;
use crate::log::{LOG_MANIFEST, LogManifest, split};
use crate::lsm::manifest::{MANIFEST, Manifest};
use crate::observer::Silent;

/// What happens to a framed file while it is written.
#[derive(Debug, Clone)]
pub enum FramedStep {
    /// Bytes are appended.
    Write(Vec<u8>),
    /// Everything so far is made durable.
    Sync,
}

fn guarded(disk: &SimDisk) -> GuardedDisk {
    GuardedDisk::new(Arc::new(disk.clone()), Arc::new(Silent), Arc::new(()))
}

fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    disk.create(path)?.write_all(bytes)
}

fn content(disk: &SimDisk, path: &Path) -> io::Result<Vec<u8>> {
    read_all(disk.open(path)?.as_ref(), u64::MAX)
}

/// The stream in a framed file that is read whole. `may_be_torn`: a log, which a crash may have
/// cut.
///
/// # Errors
/// What is damaged, and where.
pub fn decode_framed(bytes: &[u8], may_be_torn: bool) -> Result<Vec<u8>, String> {
    decode(bytes, if may_be_torn { Tail::MayBeTorn } else { Tail::Complete })
}

/// The stream in a log of which a witness says that the first `durable` bytes of `written` were
/// synced.
///
/// # Errors
/// What is damaged, and where.
pub fn decode_witnessed(bytes: &[u8], written: &[u8], durable: u64) -> Result<Vec<u8>, String> {
    let salt = u64_at(written, 8).ok_or("no header was written")?;
    decode(bytes, Tail::Witnessed(Claim { salt, durable }))
}

/// The last whole record of a framed file, as a witness is read.
///
/// # Errors
/// There is none.
pub fn last_record(bytes: &[u8]) -> Result<Vec<u8>, String> {
    last_payload(bytes)
}

/// A complete framed stream, read piece by piece, as a snapshot is.
///
/// # Errors
/// What is damaged, and where.
pub fn stream_framed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = Vec::new();
    FramedReader::open(bytes)?.read_to_end(&mut stream)?;
    Ok(stream)
}

/// The framed file that these steps write, and how much of it each [`FramedStep::Sync`] made
/// durable.
///
/// # Errors
/// None that the simulated disk makes by itself.
pub fn write_framed(steps: &[FramedStep]) -> io::Result<(Vec<u8>, Vec<usize>)> {
    let (disk, path) = (SimDisk::default(), Path::new("f"));
    let mut writer = FramedWriter::create_log(&guarded(&disk), path).map_err(io::Error::other)?;
    let mut synced = Vec::new();
    for step in steps {
        match step {
            FramedStep::Write(bytes) => writer.write(bytes).map_err(io::Error::other)?,
            FramedStep::Sync => {
                writer.sync().map_err(io::Error::other)?;
                synced.push(usize::try_from(disk.len(path)?).map_err(io::Error::other)?);
            }
        }
    }
    drop(writer);
    Ok((content(&disk, path)?, synced))
}

/// The table file of this name with this payload.
///
/// # Errors
/// None that the simulated disk makes by itself.
pub fn write_paged(name: &str, payload: &[u8]) -> io::Result<Vec<u8>> {
    let (disk, path) = (SimDisk::default(), Path::new(name));
    let mut writer = PagedWriter::create(&guarded(&disk), path).map_err(io::Error::other)?;
    writer.write(payload).and_then(|()| writer.finish()).map_err(io::Error::other)?;
    content(&disk, path)
}

/// A table file open for reading.
pub struct PagedTable(PagedReader);

impl PagedTable {
    /// Opens `bytes` as the table file `name`.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn open(name: &str, bytes: &[u8]) -> Result<Self, Fault> {
        let (disk, path) = (SimDisk::default(), Path::new(name));
        let guarded = guarded(&disk);
        put(&disk, path, bytes).map_err(|e| guarded.damaged(path, e))?;
        let reader = PagedReader::open(&guarded, path)?;
        reader.map(Self).ok_or_else(|| guarded.damaged(path, "missing"))
    }

    /// Length of the payload.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.0.payload_len()
    }

    /// Fills `buf` from `offset` as far as the payload goes; answers how many bytes.
    ///
    /// # Errors
    /// A page it touches is damaged.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Fault> {
        self.0.read_at(offset, buf)
    }
}

/// What a storage's two manifests hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestOf {
    /// The segments of the log.
    Log,
    /// The tables of the state.
    State,
}

/// A manifest with this content under a right checksum, read, and what is stored if the same is
/// written again.
///
/// # Errors
/// The content is no manifest.
pub fn manifest_again(of: ManifestOf, content: &[u8]) -> Result<Vec<u8>, Fault> {
    let (disk, dir) = (guarded(&SimDisk::default()), Path::new("db"));
    let missing = || disk.damaged(dir, "no manifest");
    disk.create_dir(dir)?;
    let path = dir.join(match of {
        ManifestOf::Log => LOG_MANIFEST,
        ManifestOf::State => MANIFEST,
    });
    marker::replace(&disk, &path, content)?;
    match of {
        ManifestOf::Log => LogManifest::read(&disk, dir)?.ok_or_else(missing)?.replace(&disk, dir)?,
        ManifestOf::State => Manifest::read(&disk, dir)?.ok_or_else(missing)?.replace(&disk, dir)?,
    }
    marker::read(&disk, &path)?.ok_or_else(missing)
}

/// The records of the entries in an entry block of the log.
///
/// # Errors
/// The bytes are no entry block.
pub fn records_of_block(bytes: &[u8]) -> Result<Vec<Bytes>, String> {
    split(&Bytes::copy_from_slice(bytes)).map_err(|e| e.to_string())
}
