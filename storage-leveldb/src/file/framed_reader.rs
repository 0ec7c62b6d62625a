//! Reading a framed file, and telling a torn tail from damage.
//!
//! After a crash the frames behind the last sync may be missing, torn, or there in part: that is
//! normal, nothing in them was acknowledged, and the stream ends before them. Anything else is
//! damage. The two are told apart exactly: a bad frame that a later valid frame, or the
//! [`witness`](super::witness), calls durable had been synced.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::framed::{
    FILE_HEADER_BYTES, FILE_MAGIC, FRAME_HEADER_BYTES, FRAME_MAGIC, MAX_FRAME_PAYLOAD_BYTES, frame_crc,
};
use super::reserved::read_used;
use super::{u32_at, u64_at};
use crate::disk::{GuardedDisk, read_all};
use crate::health::Fault;

/// The largest framed file that is read whole. LevelDB's logs end at its write buffer (a few MiB)
/// plus one batch; its MANIFEST grows by some 100 bytes per table until the next start.
pub(crate) const MAX_WHOLE_FILE_BYTES: u64 = 1 << 30;

/// What is known of a framed log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// The salt in its header.
    pub(crate) salt: u64,
    /// It has this many bytes at least, and they are as they were written.
    pub(crate) durable: u64,
}

/// What may follow the last good frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// A crash may have torn it: frames that were never synced are cut off.
    MayBeTorn,
    /// The same, but this much is known to have been synced.
    Witnessed(Claim),
    /// The file was complete before it got its name: anything wrong is damage.
    Complete,
}

/// The stream in a framed file; `None` if there is no such file.
pub(crate) fn read_stream(disk: &GuardedDisk, path: &Path, tail: Tail) -> Result<Option<Vec<u8>>, Fault> {
    let Some(file) = disk.open(path)? else {
        return Ok(None);
    };
    let bytes = match tail {
        Tail::Complete => read_all(file.as_ref(), MAX_WHOLE_FILE_BYTES),
        Tail::MayBeTorn | Tail::Witnessed(_) => read_used(file.as_ref(), MAX_WHOLE_FILE_BYTES),
    };
    let bytes = bytes.map_err(|e| disk.unreadable(path, e))?;
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

impl Tail {
    /// How much of the file must be there.
    fn durable(self) -> usize {
        match self {
            Self::Witnessed(claim) => usize::try_from(claim.durable).unwrap_or(usize::MAX),
            Self::MayBeTorn | Self::Complete => 0,
        }
    }
}

/// Joins the payloads of all frames.
///
/// # Errors
/// What is damaged, and at which offset.
pub(crate) fn decode(bytes: &[u8], tail: Tail) -> Result<Vec<u8>, String> {
    let Some(salt) = bytes.get(..FILE_HEADER_BYTES).and_then(salt_of) else {
        return without_header(bytes, tail);
    };
    if matches!(tail, Tail::Witnessed(claim) if claim.salt != salt) {
        return Err("it is not the file that was written under this name".to_owned());
    }
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
    if at < tail.durable() {
        return Err(lost(at));
    }
    // Nothing that is complete is empty: a cut behind the header leaves no frame that could be bad.
    if tail == Tail::Complete && stream.is_empty() {
        return Err("cut off behind the file header".to_owned());
    }
    Ok(stream)
}

/// Where a frame could start, from `at` on.
fn next_magic(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let found = memchr::memmem::find(rest, &FRAME_MAGIC)?;
    at.checked_add(found)
}

/// The text for frames that were synced and are not good.
fn lost(at: usize) -> String {
    format!(
        "damaged or cut off at offset {at} although more of it had been synced: acknowledged records may be gone"
    )
}

/// The payload of the last valid frame, wherever bad ones lie.
///
/// # Errors
/// There is none.
pub(crate) fn last_payload(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let salt = bytes.get(..FILE_HEADER_BYTES).and_then(salt_of);
    let salt = salt.ok_or("the file header is damaged or cut off")?;
    let mut last = None;
    let mut from = FILE_HEADER_BYTES;
    while let Some(at) = next_magic(bytes, from) {
        let frame = frame_at(bytes, at, salt);
        from = frame.as_ref().map_or(at + 1, |frame| frame.next);
        last = frame.map(|frame| frame.payload).or(last);
    }
    Ok(last.ok_or("no record in it is whole")?.to_vec())
}

/// A log's header is durable before anything else is written, so only a file with nothing else may
/// lack it.
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
    // Most of what follows may be zeros.
    let mut from = at + 1;
    while let Some(probe) = next_magic(bytes, from) {
        from = match frame_at(bytes, probe, salt) {
            Some(frame) if frame.synced > at as u64 => return Err(lost(at)),
            Some(frame) => frame.next,
            None => probe + 1,
        };
    }
    Ok(())
}

/// Reads a complete framed stream in order with bounded memory, from wherever it comes.
///
/// A bad frame is an error of the kind [`io::ErrorKind::InvalidData`]; the errors of `source` come
/// through as they are.
pub(crate) struct FramedReader<R> {
    source: R,
    salt: u64,
    offset: u64,
    payload: Vec<u8>,
    used: usize,
}

impl<R: io::Read> FramedReader<R> {
    /// Reads and checks the header.
    pub(crate) fn open(mut source: R) -> io::Result<Self> {
        let mut header = [0; FILE_HEADER_BYTES];
        let read = fill(&mut source, &mut header)?;
        let Some(salt) = header.get(..read).and_then(salt_of) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the header is damaged or cut off"));
        };
        Ok(Self { source, salt, offset: FILE_HEADER_BYTES as u64, payload: Vec::new(), used: 0 })
    }

    /// `false`: the stream ends here.
    fn next_frame(&mut self) -> io::Result<bool> {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let read = fill(&mut self.source, &mut bytes)?;
        if read == 0 && self.offset > FILE_HEADER_BYTES as u64 {
            return Ok(false);
        }
        let header = bytes.get(..read).and_then(FrameHeader::parse).ok_or_else(|| self.bad_frame())?;
        // At most `MAX_FRAME_PAYLOAD_BYTES`.
        let mut payload = vec![0; header.payload_len];
        let read = fill(&mut self.source, &mut payload)?;
        if read != header.payload_len || !header.fits(self.salt, self.offset, &payload) {
            return Err(self.bad_frame());
        }
        self.offset += (FRAME_HEADER_BYTES + payload.len()) as u64;
        self.payload = payload;
        self.used = 0;
        Ok(true)
    }

    fn bad_frame(&self) -> io::Error {
        let text = format!("the frame at offset {} is damaged or cut off", self.offset);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

/// Fills `buf` as far as the source goes; answers how many bytes.
fn fill(source: &mut impl io::Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

impl<R: io::Read> io::Read for FramedReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used >= self.payload.len() && !self.next_frame()? {
            return Ok(0);
        }
        let mut rest = self.payload.get(self.used..).unwrap_or_default();
        let n = rest.read(buf)?;
        self.used += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 7;

    /// A log of 5-byte frames, each written when all before it were synced.
    fn log(frames: usize) -> Vec<u8> {
        let mut bytes = FILE_MAGIC.to_vec();
        bytes.extend(SALT.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        for _ in 0..frames {
            let at = bytes.len() as u64;
            bytes.extend(FRAME_MAGIC);
            bytes.extend(5_u32.to_le_bytes());
            bytes.extend(at.to_le_bytes());
            bytes.extend(frame_crc(SALT, at, at, b"hello").to_le_bytes());
            bytes.extend(b"hello");
        }
        bytes
    }

    fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
        bytes[at] ^= 4;
        bytes
    }

    #[test]
    fn damage_before_a_frame_that_calls_it_synced_is_no_torn_tail() {
        for at in FILE_HEADER_BYTES..log(2).len() {
            let error = decode(&flipped(log(3), at), Tail::MayBeTorn).unwrap_err();
            assert!(error.contains("acknowledged"), "{at}: {error}");
        }
        for at in log(2).len()..log(3).len() {
            assert_eq!(decode(&flipped(log(3), at), Tail::MayBeTorn).unwrap(), b"hellohello", "{at}");
        }
    }

    #[test]
    fn what_is_witnessed_must_be_there() {
        let (all, two) = (log(3).len(), log(2).len() as u64);
        let witnessed = |durable| Tail::Witnessed(Claim { salt: SALT, durable });
        for cut in 0..all {
            let result = decode(&log(3)[..cut], witnessed(two));
            assert_eq!(result.is_ok(), cut as u64 >= two, "cut at {cut}");
        }
        for at in 0..all {
            assert!(decode(&flipped(log(3), at), witnessed(all as u64)).is_err(), "bit at {at}");
        }
        let other = Tail::Witnessed(Claim { salt: SALT + 1, durable: two });
        assert!(decode(&log(3), other).unwrap_err().contains("not the file"));
    }

    /// A log has zeros behind its records, which are no torn frame and hide no damage.
    #[test]
    fn zeros_behind_the_last_frame_change_nothing() {
        let witnessed = Tail::Witnessed(Claim { salt: SALT, durable: log(3).len() as u64 });
        let with_zeros = |mut bytes: Vec<u8>| {
            bytes.resize(bytes.len() + 5000, 0);
            bytes
        };
        for tail in [Tail::MayBeTorn, witnessed] {
            assert_eq!(decode(&with_zeros(log(3)), tail).unwrap(), b"hellohellohello");
        }
        for at in FILE_HEADER_BYTES..log(3).len() {
            assert!(decode(&with_zeros(flipped(log(3), at)), witnessed).is_err(), "bit at {at}");
        }
        for at in log(2).len()..log(3).len() {
            let bytes = with_zeros(flipped(log(3), at));
            assert_eq!(decode(&bytes, Tail::MayBeTorn).unwrap(), b"hellohello", "bit at {at}");
        }
    }

    #[test]
    fn a_complete_file_may_not_be_cut_off_anywhere() {
        let (whole, all) = (log(1), log(1).len());
        for cut in 0..all {
            assert!(decode(&whole[..cut], Tail::Complete).is_err(), "cut at {cut}");
        }
        assert_eq!(decode(&whole, Tail::Complete).unwrap(), b"hello");
    }

    #[test]
    fn a_frame_is_valid_in_one_place_only() {
        let mut bytes = log(3);
        let (one, two) = (log(1).len(), log(2).len());
        bytes.copy_within(one..two, two);
        assert_eq!(decode(&bytes, Tail::MayBeTorn).unwrap(), b"hellohello");
    }
}
