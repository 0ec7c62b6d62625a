//! Table files: pages that carry their own checksum, so that every byte read at random is verified.
//!
//! ```text
//! page     payload (4092; less in the last page) | crc32c u32
//! trailer  magic "RLPAGED1" (8) | payload length of the file u64 | crc32c u32
//! ```
//!
//! Little endian. A page's checksum covers the file's name, the page's number and its payload: a
//! page is valid in one place of a file of one name only. LevelDB's own block checksums stay, but
//! its errors get lost on the way up; here a bad page latches the storage before LevelDB sees a
//! byte of it.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::u64_at;
use crate::disk::{GuardedDisk, GuardedFile, ReadFile};
use crate::health::Fault;

const PAGE_BYTES: usize = 4096;
const CRC_BYTES: usize = 4;
const PAYLOAD_BYTES: usize = PAGE_BYTES - CRC_BYTES;
const TRAILER_MAGIC: [u8; 8] = *b"RLPAGED1";
const TRAILER_BYTES: usize = 20;
/// Full pages are gathered up to this much before they are written.
const WRITE_BUFFER_BYTES: usize = 16 * PAGE_BYTES;
/// A table is synced each time so much of it has been written: an append to the log would have to
/// wait for all that was written and not synced.
const SYNC_BYTES: usize = 1024 * 1024;
/// A whole table is read in pieces of this size.
const VERIFY_BUFFER_BYTES: usize = 256 * PAGE_BYTES;

/// Each thread keeps a buffer of at most this size for its next read.
const SCRATCH_BYTES: usize = 256 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a page's checksum starts from.
fn seed_of(path: &Path) -> u32 {
    crc32c::crc32c(path.file_name().unwrap_or_default().as_encoded_bytes())
}

fn page_crc(seed: u32, page: u64, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &page.to_le_bytes()), payload)
}

fn trailer(seed: u32, payload_len: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TRAILER_BYTES);
    bytes.extend(TRAILER_MAGIC);
    bytes.extend(payload_len.to_le_bytes());
    bytes.extend(crc32c::crc32c_append(seed, &bytes).to_le_bytes());
    bytes
}

/// The file length that belongs to a payload length.
pub(crate) fn file_len_of(payload_len: u64) -> Option<u64> {
    let pages = payload_len.div_ceil(PAYLOAD_BYTES as u64);
    payload_len.checked_add(pages.checked_mul(CRC_BYTES as u64)?)?.checked_add(TRAILER_BYTES as u64)
}

/// How long the pages of such a payload are, which a file has.
fn data_len_of(payload_len: u64) -> u64 {
    payload_len + payload_len.div_ceil(PAYLOAD_BYTES as u64) * CRC_BYTES as u64
}

/// Invariants: every page before `page_start` of `pages` is complete; after
/// [`finish`](Self::finish) nothing can be written, and content and name are durable.
pub(crate) struct PagedWriter {
    file: GuardedFile,
    seed: u32,
    page: u64,
    payload_len: u64,
    pages: Vec<u8>,
    page_start: usize,
    unsynced: usize,
    finished: bool,
}

impl PagedWriter {
    pub(crate) fn create(disk: &GuardedDisk, path: &Path) -> Result<Self, Fault> {
        let file = disk.create(path)?;
        let pages = Vec::with_capacity(WRITE_BUFFER_BYTES);
        Ok(Self {
            file,
            seed: seed_of(path),
            page: 0,
            payload_len: 0,
            pages,
            page_start: 0,
            unsynced: 0,
            finished: false,
        })
    }

    /// The name need not be durable when the content is: the caller syncs the directory before it
    /// counts.
    pub(crate) fn leave_name(&mut self) {
        self.file.leave_name();
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// What has gathered of the page that is not complete.
    fn gathered(&self) -> &[u8] {
        self.pages.get(self.page_start..).unwrap_or_default()
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        debug_assert!(!self.finished, "write behind the end of {}", self.path().display());
        while !bytes.is_empty() {
            let room = PAYLOAD_BYTES - self.gathered().len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pages.extend_from_slice(now);
            bytes = later;
            if self.gathered().len() >= PAYLOAD_BYTES {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), Fault> {
        let gathered = self.gathered();
        let (crc, len) = (page_crc(self.seed, self.page, gathered), gathered.len() as u64);
        self.payload_len += len;
        self.page += 1;
        self.pages.extend(crc.to_le_bytes());
        debug_assert!(self.pages.len() - self.page_start <= PAGE_BYTES, "a page at a time");
        self.page_start = self.pages.len();
        if self.pages.len() >= WRITE_BUFFER_BYTES { self.write_pages() } else { Ok(()) }
    }

    fn write_pages(&mut self) -> Result<(), Fault> {
        self.file.write_all(&self.pages)?;
        self.unsynced += self.pages.len();
        if self.unsynced >= SYNC_BYTES {
            self.file.sync()?;
            self.unsynced = 0;
        }
        self.pages.clear();
        self.page_start = 0;
        Ok(())
    }

    /// Completes the file and makes it durable.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        if self.finished {
            return Ok(());
        }
        if !self.gathered().is_empty() {
            self.end_page()?;
        }
        let trailer = trailer(self.seed, self.payload_len);
        self.pages.extend(trailer);
        self.write_pages()?;
        self.file.sync()?;
        self.finished = true;
        Ok(())
    }
}

/// A table file open for reading. Every failure latches.
pub(crate) struct PagedReader {
    file: Box<dyn ReadFile>,
    path: PathBuf,
    disk: GuardedDisk,
    seed: u32,
    payload_len: u64,
    /// Of the pages.
    data_len: u64,
}

impl PagedReader {
    /// `None` if there is no such file.
    pub(crate) fn open(disk: &GuardedDisk, path: &Path) -> Result<Option<Self>, Fault> {
        let Some(file) = disk.open(path)? else {
            return Ok(None);
        };
        let seed = seed_of(path);
        let payload_len = read_trailer(file.as_ref(), path).map_err(|fault| disk.latch(fault))?;
        let (path, disk, data_len) = (path.to_owned(), disk.clone(), data_len_of(payload_len));
        Ok(Some(Self { file, path, disk, seed, payload_len, data_len }))
    }

    /// Length of what was written through [`PagedWriter::write`].
    pub(crate) fn payload_len(&self) -> u64 {
        self.payload_len
    }

    /// Fills `buf` from `offset` as far as the payload goes; answers how many bytes.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Fault> {
        let wanted = (buf.len() as u64).min(self.payload_len.saturating_sub(offset));
        if wanted == 0 {
            return Ok(0);
        }
        self.read(offset, wanted, |payload| {
            let (to, _) = buf.split_at_mut(payload.len().min(buf.len()));
            to.copy_from_slice(payload);
            payload.len()
        })
    }

    /// Shows `len` bytes from `offset` to `look`. All of them must be there.
    pub(crate) fn read<T>(&self, offset: u64, len: u64, look: impl FnOnce(&[u8]) -> T) -> Result<T, Fault> {
        let end = offset.checked_add(len).filter(|end| *end <= self.payload_len);
        let end =
            end.ok_or_else(|| self.damaged(format!("no {len} bytes at offset {offset} of its payload")))?;
        if len == 0 {
            return Ok(look(&[]));
        }
        let first = offset / PAYLOAD_BYTES as u64;
        let last = (end - 1) / PAYLOAD_BYTES as u64;
        let mut scratch = SCRATCH.take();
        let payload = self.read_pages(first, last, &mut scratch)?;
        let skip = (offset % PAYLOAD_BYTES as u64) as usize;
        let wanted = usize::try_from(len).ok().and_then(|len| payload.get(skip..)?.get(..len));
        let answer = look(wanted.ok_or_else(|| self.damaged("too large to be read".to_owned()))?);
        if scratch.len() <= SCRATCH_BYTES {
            SCRATCH.set(scratch);
        }
        Ok(answer)
    }

    /// The verified payload of the pages `first..=last`, in `scratch`, which grows to what it
    /// takes.
    fn read_pages<'a>(&self, first: u64, last: u64, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Fault> {
        // All of these are within the file, whose length `read_trailer` has compared with
        // `payload_len`.
        debug_assert!(first <= last && last * (PAGE_BYTES as u64) < self.data_len, "pages of the file");
        let start = first * PAGE_BYTES as u64;
        let end = ((last + 1) * PAGE_BYTES as u64).min(self.data_len);
        let len =
            usize::try_from(end - start).map_err(|_| self.damaged("too large to be read".to_owned()))?;
        if scratch.len() < len {
            scratch.resize(len, 0);
        }
        let (raw, _) = scratch.split_at_mut(len);
        match self.file.read_at(start, raw) {
            Ok(n) if n == len => {}
            Ok(n) => {
                return Err(self.damaged(format!("cut off at offset {}", start + n as u64)));
            }
            Err(e) => return Err(self.disk.unreadable(&self.path, e)),
        }
        let mut payload_len = 0;
        for (number, page) in (first..=last).zip((0..len).step_by(PAGE_BYTES)) {
            let page_end = (page + PAGE_BYTES).min(len);
            let kept = self.verified(number, raw.get(page..page_end).unwrap_or_default())?.len();
            // The checksums between the pages are closed up.
            if page > 0 {
                raw.copy_within(page..page + kept, payload_len);
            }
            payload_len += kept;
        }
        Ok(raw.get(..payload_len).unwrap_or_default())
    }

    fn verified<'a>(&self, page: u64, raw: &'a [u8]) -> Result<&'a [u8], Fault> {
        payload_of(self.seed, page, raw).ok_or_else(|| self.damaged(bad_page(page)))
    }

    fn damaged(&self, reason: String) -> Fault {
        self.disk.damaged(&self.path, reason)
    }
}

/// The payload of a page, if it is valid.
fn payload_of(seed: u32, page: u64, raw: &[u8]) -> Option<&[u8]> {
    let (payload, crc) = raw.split_last_chunk()?;
    (u32::from_le_bytes(*crc) == page_crc(seed, page, payload)).then_some(payload)
}

fn bad_page(page: u64) -> String {
    format!("checksum mismatch in page {page} at offset {}", page * PAGE_BYTES as u64)
}

/// Reads every page of a table and tells `progress` of the bytes it reads. Does not stop at a bad
/// page.
///
/// # Errors
/// The first bad page, and how many follow it; or that the file cannot be read.
pub(crate) fn verify(file: &dyn ReadFile, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), Fault> {
    let seed = seed_of(path);
    let data_len = data_len_of(read_trailer(file, path)?);
    let (mut first_bad, mut more_bad) = (None, 0_u64);
    let mut buffer = vec![0; VERIFY_BUFFER_BYTES];
    let mut offset = 0;
    while offset < data_len {
        let len = (data_len - offset).min(VERIFY_BUFFER_BYTES as u64);
        let (raw, _) = buffer.split_at_mut(len as usize);
        match file.read_at(offset, raw) {
            Ok(read) if read == raw.len() => {}
            Ok(read) => {
                return Err(Fault::corrupt(path, format!("cut off at offset {}", offset + read as u64)));
            }
            Err(e) => return Err(Fault::io("read", path, e)),
        }
        for (page, raw) in (offset / PAGE_BYTES as u64..).zip(raw.chunks(PAGE_BYTES)) {
            if payload_of(seed, page, raw).is_none() {
                more_bad += u64::from(first_bad.is_some());
                first_bad.get_or_insert(page);
            }
        }
        offset += len;
        progress(len);
    }
    match (first_bad, more_bad) {
        (None, _) => Ok(()),
        (Some(page), 0) => Err(Fault::corrupt(path, bad_page(page))),
        (Some(page), more) => {
            Err(Fault::corrupt(path, format!("{}, and in {more} more pages", bad_page(page))))
        }
    }
}

/// The payload length that a file's trailer tells, checked against the file's length.
fn read_trailer(file: &dyn ReadFile, path: &Path) -> Result<u64, Fault> {
    let (unreadable, damaged) = (|e| Fault::io("read", path, e), |reason| Fault::corrupt(path, reason));
    let file_len = file.len().map_err(unreadable)?;
    let mut bytes = [0; TRAILER_BYTES];
    let start = file_len.checked_sub(TRAILER_BYTES as u64);
    let start = start.ok_or_else(|| damaged("too short to be a table".to_owned()))?;
    file.read_at(start, &mut bytes).map_err(unreadable)?;
    let payload_len = u64_at(&bytes, 8).unwrap_or(0);
    if trailer(seed_of(path), payload_len) != bytes {
        return Err(damaged("the trailer is damaged, or the file is cut off".to_owned()));
    }
    if file_len_of(payload_len) != Some(file_len) {
        return Err(damaged(format!(
            "{file_len} bytes long, but its trailer tells of {payload_len} bytes of payload"
        )));
    }
    Ok(payload_len)
}
