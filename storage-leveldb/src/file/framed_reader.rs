//! Reading a framed file, and telling a torn tail from damage.
//!
//! After a crash the frames behind the last sync may be missing, torn, or there in part: that is normal,
//! nothing in them was acknowledged, and the stream ends before them. Anything else is damage. The two are
//! told apart exactly: a bad frame that a later valid frame calls durable had been synced.
//!
//! What this cannot see: damage to the very last synced frames with nothing written after them looks
//! like a torn tail.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::framed::{
    FILE_HEADER_BYTES, FILE_MAGIC, FRAME_HEADER_BYTES, FRAME_MAGIC, MAX_FRAME_PAYLOAD_BYTES, frame_crc,
};
use super::{u32_at, u64_at};
use crate::disk::{GuardedDisk, ReadFile, read_all};
use crate::health::Fault;

/// The largest framed file that is read whole. LevelDB's logs end at its write buffer (a few MiB) plus one
/// batch; its MANIFEST grows by some 100 bytes per table until the next start.
pub(crate) const MAX_WHOLE_FILE_BYTES: u64 = 1 << 30;

/// What may follow the last good frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// A crash may have torn it: frames that were never synced are cut off.
    MayBeTorn,
    /// The file was complete before it got its name: anything wrong is damage.
    Complete,
}

/// The stream in a framed file; `None` if there is no such file.
pub(crate) fn read_stream(disk: &GuardedDisk, path: &Path, tail: Tail) -> Result<Option<Vec<u8>>, Fault> {
    let Some(file) = disk.open(path)? else {
        return Ok(None);
    };
    let bytes = read_all(file.as_ref(), MAX_WHOLE_FILE_BYTES)
        .map_err(|e| disk.damaged(path, format!("cannot read: {e}")))?;
    decode(&bytes, tail).map(Some).map_err(|reason| disk.damaged(path, reason))
}

/// The salt in a file header.
fn salt_of(header: &[u8]) -> Option<u64> {
    let magic_is_right = header.get(..8) == Some(FILE_MAGIC.as_slice());
    let crc_is_right = u32_at(header, 16)? == crc32c::crc32c(header.get(..16)?);
    if magic_is_right && crc_is_right { u64_at(header, 8) } else { None }
}

/// The header of a frame, not yet checked against the payload.
#[derive(Clone, Copy)]
struct FrameHeader {
    payload_len: usize,
    synced: u64,
    crc: u32,
}

impl FrameHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != FRAME_MAGIC {
            return None;
        }
        let payload_len = u32_at(bytes, 4)? as usize;
        let possible = (1..=MAX_FRAME_PAYLOAD_BYTES).contains(&payload_len);
        possible.then_some(Self { payload_len, synced: u64_at(bytes, 8)?, crc: u32_at(bytes, 16)? })
    }

    fn fits(self, salt: u64, offset: u64, payload: &[u8]) -> bool {
        self.synced <= offset && self.crc == frame_crc(salt, offset, self.synced, payload)
    }
}

/// A valid frame: what was durable when it was written, its payload, and where the next one starts.
struct Frame<'a> {
    synced: u64,
    payload: &'a [u8],
    next: usize,
}

fn frame_at(bytes: &[u8], at: usize, salt: u64) -> Option<Frame<'_>> {
    let start = at.checked_add(FRAME_HEADER_BYTES)?;
    let header = FrameHeader::parse(bytes.get(at..start)?)?;
    let next = start.checked_add(header.payload_len)?;
    let payload = bytes.get(start..next)?;
    let valid = header.fits(salt, at as u64, payload);
    valid.then_some(Frame { synced: header.synced, payload, next })
}

/// Joins the payloads of all frames.
///
/// # Errors
/// What is damaged, and at which offset.
pub(crate) fn decode(bytes: &[u8], tail: Tail) -> Result<Vec<u8>, String> {
    let Some(salt) = bytes.get(..FILE_HEADER_BYTES).and_then(salt_of) else {
        return without_header(bytes, tail);
    };
    let mut stream = Vec::with_capacity(bytes.len());
    let mut at = FILE_HEADER_BYTES;
    while at < bytes.len() {
        let Some(frame) = frame_at(bytes, at, salt) else {
            check_tail(bytes, at, salt, tail)?;
            break;
        };
        stream.extend_from_slice(frame.payload);
        at = frame.next;
    }
    Ok(stream)
}

/// A log's header is durable before anything else is written, so only a file with nothing else may lack it.
fn without_header(bytes: &[u8], tail: Tail) -> Result<Vec<u8>, String> {
    if tail == Tail::MayBeTorn && bytes.len() <= FILE_HEADER_BYTES {
        return Ok(Vec::new());
    }
    Err("the file header is damaged or cut off".to_owned())
}

/// Decides what a bad frame at `at` means.
fn check_tail(bytes: &[u8], at: usize, salt: u64, tail: Tail) -> Result<(), String> {
    if tail == Tail::Complete {
        return Err(format!("the frame at offset {at} is damaged or cut off"));
    }
    let mut probe = at.saturating_add(1);
    while probe < bytes.len() {
        match frame_at(bytes, probe, salt) {
            Some(frame) if frame.synced > at as u64 => {
                return Err(format!(
                    "the frame at offset {at} is damaged although it had been synced: acknowledged records may be gone"
                ));
            }
            Some(frame) => probe = frame.next,
            None => probe = probe.saturating_add(1),
        }
    }
    Ok(())
}

/// Reads the stream of a [`Tail::Complete`] file in order with bounded memory.
pub(crate) struct FramedReader {
    file: Box<dyn ReadFile>,
    salt: u64,
    offset: u64,
    raw_next: u64,
    payload: Vec<u8>,
    used: usize,
}

impl FramedReader {
    /// `None` if there is no such file. Damage is not latched here: what is being read may have come from
    /// a peer.
    pub(crate) fn open(disk: &GuardedDisk, path: &Path) -> io::Result<Option<Self>> {
        let Some(file) = disk.open(path).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let mut header = [0; FILE_HEADER_BYTES];
        let read = file.read_at(0, &mut header)?;
        let Some(salt) = header.get(..read).and_then(salt_of) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file header is damaged or cut off"));
        };
        Ok(Some(Self {
            file,
            salt,
            offset: FILE_HEADER_BYTES as u64,
            raw_next: 0,
            payload: Vec::new(),
            used: 0,
        }))
    }

    /// The next bytes of the file itself, verified: its header, then frame by frame; empty at the end.
    pub(crate) fn next_raw(&mut self) -> io::Result<Bytes> {
        let header_is_due = self.raw_next == 0;
        if !header_is_due && !self.next_frame()? {
            return Ok(Bytes::new());
        }
        let len = usize::try_from(self.offset.saturating_sub(self.raw_next)).map_err(io::Error::other)?;
        let mut raw = vec![0; len];
        let read = self.file.read_at(self.raw_next, &mut raw)?;
        raw.truncate(read);
        self.raw_next = self.offset;
        Ok(raw.into())
    }

    fn next_frame(&mut self) -> io::Result<bool> {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let read = self.file.read_at(self.offset, &mut bytes)?;
        if read == 0 {
            return Ok(false);
        }
        let header = bytes.get(..read).and_then(FrameHeader::parse).ok_or_else(|| self.bad_frame())?;
        let mut payload = vec![0; header.payload_len];
        let start = self.offset.saturating_add(FRAME_HEADER_BYTES as u64);
        let read = self.file.read_at(start, &mut payload)?;
        if read != header.payload_len || !header.fits(self.salt, self.offset, &payload) {
            return Err(self.bad_frame());
        }
        self.offset = start.saturating_add(read as u64);
        self.payload = payload;
        self.used = 0;
        Ok(true)
    }

    fn bad_frame(&self) -> io::Error {
        let text = format!("the frame at offset {} is damaged or cut off", self.offset);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

impl io::Read for FramedReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used >= self.payload.len() && !self.next_frame()? {
            return Ok(0);
        }
        let mut rest = self.payload.get(self.used..).unwrap_or_default();
        let n = rest.read(buf)?;
        self.used = self.used.saturating_add(n);
        Ok(n)
    }
}
