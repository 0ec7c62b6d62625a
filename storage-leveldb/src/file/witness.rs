//! What was durable, told by a second file.
//!
//! A framed log cannot bear witness for its own end: frames that were damaged or cut off behind the last good
//! one look like frames that were never synced. So after every sync of a log a record goes to `WITNESS` in the
//! same directory: how much of each log is durable now. It is not synced itself: after a clean close or the
//! death of the process it is complete; after a power failure the records of the last seconds may be gone,
//! and only then does a damaged end of a log look like a torn one.
//!
//! ```text
//! WITNESS   a framed file; every frame is one record, the last valid one counts:
//!           codec bytes of { file name: (salt of the file, bytes that are durable) }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::framed::FramedWriter;
use super::framed_reader::last_payload;
use crate::disk::{GuardedDisk, read_all};
use crate::health::Fault;

/// The file's name.
pub(crate) const WITNESS: &str = "WITNESS";
const NEXT: &str = "WITNESS.tmp";
/// A file of this size gives way to a new one with one record.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// A larger one is not ours.
const MAX_READ_BYTES: u64 = 4 * MAX_FILE_BYTES;

/// What is known of a framed log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// The salt in its header.
    pub(crate) salt: u64,
    /// It has this many bytes at least, and they are as they were written.
    pub(crate) durable: u64,
}

type Claims = BTreeMap<String, Claim>;

/// The witness of one directory's logs.
///
/// Invariant: whatever part of `WITNESS` survives a power failure, what its last valid record says is true:
/// a record is written after the sync that it tells of, and a file goes away, or gives way to another of its
/// name, only after a record without it is durable.
pub(crate) struct Witness {
    disk: GuardedDisk,
    dir: PathBuf,
    claims: Claims,
    writer: FramedWriter,
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Witness {
    /// Opens the witness of `dir`, which exists; without one nothing is known.
    ///
    /// # Errors
    /// The witness is unreadable, or a file that it names is gone.
    pub(crate) fn open(disk: &GuardedDisk, dir: &Path) -> Result<Self, Fault> {
        let claims = read(disk, dir)?.unwrap_or_default();
        for (name, claim) in &claims {
            let path = dir.join(name);
            if disk.len(&path)?.is_none() {
                // Either it is lost, or the end of the witness is, with what tells that it was to go.
                let (witness, durable) = (dir.join(WITNESS), claim.durable);
                let reason = format!(
                    "missing, although {} tells that {durable} bytes of it had been synced",
                    witness.display()
                );
                return Err(disk.damaged(&path, reason));
            }
        }
        let writer = start(disk, dir, &claims)?;
        Ok(Self { disk: disk.clone(), dir: dir.to_owned(), claims, writer })
    }

    /// What is known of a file.
    pub(crate) fn claim(&self, path: &Path) -> Option<Claim> {
        self.claims.get(&name_of(path)).copied()
    }

    /// A log has been synced.
    pub(crate) fn synced(&mut self, path: &Path, log: &FramedWriter) -> Result<(), Fault> {
        let claim = Claim { salt: log.salt(), durable: log.synced() };
        if self.claims.insert(name_of(path), claim) == Some(claim) {
            return Ok(());
        }
        if self.writer.offset() >= MAX_FILE_BYTES {
            self.writer = start(&self.disk, &self.dir, &self.claims)?;
            return Ok(());
        }
        self.record()?;
        self.writer.write_out()
    }

    /// A log is about to go away; durable when it returns.
    pub(crate) fn forget(&mut self, path: &Path) -> Result<(), Fault> {
        if self.claims.remove(&name_of(path)).is_none() {
            return Ok(());
        }
        self.record()?;
        self.writer.sync()
    }

    fn record(&mut self) -> Result<(), Fault> {
        let record = encode(&self.disk, &self.dir, &self.claims)?;
        self.writer.write(&record)
    }
}

fn encode(disk: &GuardedDisk, dir: &Path, claims: &Claims) -> Result<Vec<u8>, Fault> {
    codec::encode(claims).map_err(|e| disk.damaged(&dir.join(WITNESS), e))
}

/// Replaces the file by a new one, durably.
fn start(disk: &GuardedDisk, dir: &Path, claims: &Claims) -> Result<FramedWriter, Fault> {
    let (next, path) = (dir.join(NEXT), dir.join(WITNESS));
    let mut writer = FramedWriter::create(disk, &next)?;
    writer.write(&encode(disk, dir, claims)?)?;
    writer.sync()?;
    writer.rename(disk, &path)?;
    Ok(writer)
}

/// What the witness in `dir` says; `None` if there is none.
pub(crate) fn read(disk: &GuardedDisk, dir: &Path) -> Result<Option<Claims>, Fault> {
    let path = dir.join(WITNESS);
    let Some(file) = disk.open(&path)? else {
        return Ok(None);
    };
    let bytes = read_all(file.as_ref(), MAX_READ_BYTES)
        .map_err(|e| disk.damaged(&path, format!("cannot read: {e}")))?;
    parse(&bytes).map(Some).map_err(|reason| disk.damaged(&path, reason))
}

fn parse(bytes: &[u8]) -> Result<Claims, String> {
    let record = last_payload(bytes)?;
    let claims: Claims = codec::decode(&record).map_err(|e| format!("the last record: {e}"))?;
    let is_plain = |name: &String| Path::new(name).file_name().is_some_and(|plain| plain == name.as_str());
    match claims.keys().find(|name| !is_plain(name)) {
        Some(name) => Err(format!("{name:?} is no file name")),
        None => Ok(claims),
    }
}
