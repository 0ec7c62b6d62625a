//! Reading a framed log without the zeros that lie behind its frames: it may have some MiB of them,
//! made in advance, and none of them has to be in memory. Called by [`super::framed_reader`].

use std::io;

use super::framed::{FRAME_HEADER_BYTES, MAX_FRAME_PAYLOAD_BYTES};
use crate::disk::{ReadFile, read_all, read_exactly};

/// The zeros are looked at in pieces of this size.
const PIECE_BYTES: u64 = 64 * 1024;

/// All of a file of at most `limit_bytes` that can be frames.
///
/// # Errors
/// The disk's, and [`io::ErrorKind::InvalidData`] for a larger file.
pub(super) fn read_used(file: &dyn ReadFile, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > limit_bytes {
        return read_all(file, limit_bytes);
    }
    // The last frame may end in zeros of its own; its header does not consist of them.
    let frame_bytes = (FRAME_HEADER_BYTES + MAX_FRAME_PAYLOAD_BYTES) as u64;
    let used = len.min(end_of_content(file, len)? + frame_bytes);
    let mut bytes = vec![0; usize::try_from(used).map_err(io::Error::other)?];
    read_exactly(file, 0, &mut bytes)?;
    Ok(bytes)
}

/// Where the last byte of the first `len` ends that is not zero.
fn end_of_content(file: &dyn ReadFile, len: u64) -> io::Result<u64> {
    let mut piece = Vec::new();
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(PIECE_BYTES);
        piece.resize(usize::try_from(end - start).map_err(io::Error::other)?, 0);
        read_exactly(file, start, &mut piece)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Disk, GuardedDisk};
    use crate::file::framed::Framer;
    use crate::file::framed_reader::{Tail, decode, read_stream};
    use crate::observer::Silent;
    use crate::testing::SimDisk;

    fn read(disk: &SimDisk, bytes: &[u8]) -> Vec<u8> {
        let path = Path::new("log");
        disk.create(path).unwrap().write_all(bytes).unwrap();
        read_used(disk.open(path).unwrap().as_ref(), u64::MAX).unwrap()
    }

    /// Found by the benchmark of memory: a node that had just been started kept the 24 MiB of zeros
    /// that it had read.
    #[test]
    fn the_zeros_behind_a_log_are_not_kept_in_memory() {
        const RESERVED: usize = 3 << 20;
        let disk = SimDisk::default();
        // The last frame ends in zeros, as many as it can.
        let (mut framer, mut bytes) = Framer::new();
        let _ = framer.gather(&[&b"x"[..], &vec![0; MAX_FRAME_PAYLOAD_BYTES]].concat());
        framer.end_frame(0, &mut bytes);
        let written = bytes.len();
        for reserved in [0, 1, MAX_FRAME_PAYLOAD_BYTES, RESERVED] {
            bytes.resize(written + reserved, 0);
            let read = read(&disk, &bytes);
            assert!(read.len() <= written + MAX_FRAME_PAYLOAD_BYTES, "{} of {written} bytes", read.len());
            let stream = decode(&read, Tail::MayBeTorn).unwrap();
            assert!(stream.len() == MAX_FRAME_PAYLOAD_BYTES && stream.first() == Some(&b'x'));
            // A file that was complete before it got its name has nothing behind its frames.
            let guarded = GuardedDisk::new(Arc::new(disk.copy()), Arc::new(Silent), Arc::new(()));
            assert_eq!(read_stream(&guarded, Path::new("log"), Tail::Complete).is_ok(), reserved == 0);
        }
        bytes.fill(0);
        assert!(decode(&read(&disk, &bytes), Tail::MayBeTorn).is_err(), "a log without a header");
    }
}
