//! What was durable, told by a second file.
//!
//! A framed log cannot bear witness for its own end: frames that were damaged or cut off behind the
//! last good one look like frames that were never synced. So after every sync of a log a record
//! goes to `WITNESS` in the same directory: how much of each log is durable now. It is not synced
//! itself: after a clean close or the death of the process it is complete; after a power failure
//! the records of the last seconds may be gone, and only then does a damaged end of a log look like
//! a torn one.
//!
//! The file also says when the file system made it. Each opening of a database makes a new one, so
//! a directory with a file that was made later was copied or restored from a copy: it may be older
//! than what its node has promised.
//!
//! ```text
//! WITNESS   a framed file; every frame is one record, the last valid one counts: codec bytes of
//!           when the file was made, and { file name: (salt of the file, bytes that are durable) }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::framed::FramedWriter;
pub(crate) use super::framed_reader::Claim;
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
/// The fault of a file that was made later than it says.
const COPIED: &str = "a copy: the file system made it at another time than it says itself, so this \
    directory was copied, or restored from a copy, and may lack what its node has promised and \
    acknowledged; replace this member by a new one with a new id and an empty directory. Only if this \
    is the whole and newest state, and the original will never run again, open it once with \
    `Options::accept_copy`";

pub(crate) type Claims = BTreeMap<String, Claim>;

/// What each record says.
#[derive(Serialize, Deserialize)]
struct Record {
    /// When the file system made the WITNESS, in nanoseconds since 1970; `None`: it does not say.
    born: Option<u64>,
    claims: Claims,
}

/// The witness of one directory's logs.
///
/// Invariants: `record.born` is the birth time of the file that is written. Whatever part of
/// `WITNESS` survives a power failure, what its last valid record says is true: a record is written
/// after the sync that it tells of, and a file goes away, or gives way to another of its name, only
/// after a record without it is durable.
pub(crate) struct Witness {
    disk: GuardedDisk,
    dir: PathBuf,
    record: Record,
    writer: FramedWriter,
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Witness {
    /// Opens the witness of `dir`, which exists, and begins a new file; without one nothing is
    /// known.
    ///
    /// # Errors
    /// The witness is unreadable, or a copy unless these are accepted, or a file that it names is
    /// gone.
    pub(crate) fn open(disk: &GuardedDisk, dir: &Path, accept_copy: bool) -> Result<Self, Fault> {
        let record = read_record(disk, dir)?;
        if let Some(record) = record.as_ref().filter(|_| !accept_copy) {
            record.refuse_copy(disk, &dir.join(WITNESS))?;
        }
        let claims = record.map(|record| record.claims).unwrap_or_default();
        for (name, claim) in &claims {
            let path = dir.join(name);
            if disk.len(&path)?.is_none() {
                // Either it is lost, or the end of the witness is, with what tells that it was to
                // go.
                let (witness, durable) = (dir.join(WITNESS), claim.durable);
                let reason = format!(
                    "missing, although {} tells that {durable} bytes of it had been synced",
                    witness.display()
                );
                return Err(disk.damaged(&path, reason));
            }
        }
        Self::start(disk.clone(), dir.to_owned(), claims)
    }

    /// Replaces the file by a new one with these claims, durably.
    fn start(disk: GuardedDisk, dir: PathBuf, claims: Claims) -> Result<Self, Fault> {
        let (next, path) = (dir.join(NEXT), dir.join(WITNESS));
        let writer = FramedWriter::create(&disk, &next)?;
        let record = Record { born: disk.born(&next)?, claims };
        let mut this = Self { disk, dir, record, writer };
        this.write_record()?;
        this.writer.sync()?;
        this.writer.rename(&this.disk, &path)?;
        Ok(this)
    }

    /// What is known of a file.
    pub(crate) fn claim(&self, path: &Path) -> Option<Claim> {
        self.record.claims.get(&name_of(path)).copied()
    }

    /// A log has been synced.
    pub(crate) fn synced(&mut self, path: &Path, log: &FramedWriter) -> Result<(), Fault> {
        let claim = Claim { salt: log.salt(), durable: log.synced() };
        if self.record.claims.insert(name_of(path), claim) == Some(claim) {
            return Ok(());
        }
        if self.writer.offset() >= MAX_FILE_BYTES {
            let (disk, dir) = (self.disk.clone(), self.dir.clone());
            *self = Self::start(disk, dir, self.record.claims.clone())?;
            return Ok(());
        }
        self.write_record()?;
        self.writer.write_out()
    }

    /// A log is about to go away; durable when it returns.
    pub(crate) fn forget(&mut self, path: &Path) -> Result<(), Fault> {
        if self.record.claims.remove(&name_of(path)).is_none() {
            return Ok(());
        }
        self.write_record()?;
        self.writer.sync()
    }

    fn write_record(&mut self) -> Result<(), Fault> {
        let record = codec::encode(&self.record);
        self.writer.write(&record.map_err(|e| self.disk.damaged(&self.dir.join(WITNESS), e))?)
    }
}

impl Record {
    /// The file in which this was found must be the one that it was written to.
    fn refuse_copy(&self, disk: &GuardedDisk, path: &Path) -> Result<(), Fault> {
        match (self.born, disk.born(path)?) {
            (Some(told), Some(found)) if told != found => Err(disk.damaged(path, COPIED)),
            _ => Ok(()),
        }
    }
}

/// What the witness in `dir` says of the logs, copy or not; `None` if there is none.
pub(crate) fn read(disk: &GuardedDisk, dir: &Path) -> Result<Option<Claims>, Fault> {
    Ok(read_record(disk, dir)?.map(|record| record.claims))
}

fn read_record(disk: &GuardedDisk, dir: &Path) -> Result<Option<Record>, Fault> {
    let path = dir.join(WITNESS);
    let Some(file) = disk.open(&path)? else {
        return Ok(None);
    };
    let bytes = read_all(file.as_ref(), MAX_READ_BYTES).map_err(|e| disk.unreadable(&path, e))?;
    parse(&bytes).map(Some).map_err(|reason| disk.damaged(&path, reason))
}

fn parse(bytes: &[u8]) -> Result<Record, String> {
    let record: Record = codec::decode(&last_payload(bytes)?).map_err(|e| format!("the last record: {e}"))?;
    let is_plain = |name: &String| Path::new(name).file_name().is_some_and(|plain| plain == name.as_str());
    match record.claims.keys().find(|name| !is_plain(name)) {
        Some(name) => Err(format!("{name:?} is no file name")),
        None => Ok(record),
    }
}
