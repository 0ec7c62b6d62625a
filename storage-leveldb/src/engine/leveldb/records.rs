//! Records of a LevelDB log: what MANIFEST and the `.log` files hold below our frames.
//!
//! ```text
//! a block of 32 KiB: records, and less than 7 bytes of filling
//! record   masked crc32c of type and data u32 | length u16 | type u8: 1 full, 2 first, 3 middle, 4 last | data
//! ```
//!
//! LevelDB takes a record with a wrong checksum for the end of the log, and says nothing.

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;
const CRC_MASK_DELTA: u32 = 0xa282_ead8;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// One piece of a record.
struct Piece<'a> {
    kind: u8,
    data: &'a [u8],
    next: usize,
}

/// The records in a stream, one after the other. A record that the stream does not hold to its end
/// is left out: the process died while it was written.
///
/// Answers what is wrong in place of a damaged record, and then nothing more.
pub(crate) struct Records<'a> {
    stream: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn of(stream: &'a [u8]) -> Self {
        Self { stream, at: 0 }
    }

    /// `Ok(None)`: the stream ends within the piece, or before it.
    fn piece(&mut self) -> Result<Option<Piece<'a>>, String> {
        let left_in_block = BLOCK_BYTES - self.at % BLOCK_BYTES;
        if left_in_block < HEADER_BYTES {
            self.at += left_in_block;
        }
        let at = self.at;
        let start = at + HEADER_BYTES;
        let Some([c0, c1, c2, c3, l0, l1, kind]) = self.stream.get(at..start).and_then(<[u8]>::first_chunk)
        else {
            return Ok(None);
        };
        let next = start + usize::from(u16::from_le_bytes([*l0, *l1]));
        let Some(data) = self.stream.get(start..next) else {
            return Ok(None);
        };
        let stored = u32::from_le_bytes([*c0, *c1, *c2, *c3]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[*kind]), data);
        if stored != crc.rotate_right(15).wrapping_add(CRC_MASK_DELTA) {
            return Err(format!("LevelDB's record at {at} of the file's content has a wrong checksum"));
        }
        Ok(Some(Piece { kind: *kind, data, next }))
    }

    fn record(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut record = Vec::new();
        let mut begun = false;
        while let Some(piece) = self.piece()? {
            let fits = matches!((begun, piece.kind), (false, FULL | FIRST) | (true, MIDDLE | LAST));
            if !fits {
                return Err(format!("LevelDB's record at {} of the file's content is out of place", self.at));
            }
            self.at = piece.next;
            record.extend_from_slice(piece.data);
            begun = true;
            if matches!(piece.kind, FULL | LAST) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Vec<u8>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.record();
        if record.is_err() {
            self.stream = &[];
        }
        record.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(kind: u8, data: &[u8]) -> Vec<u8> {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), data);
        let mut bytes = crc.rotate_right(15).wrapping_add(CRC_MASK_DELTA).to_le_bytes().to_vec();
        bytes.extend((data.len() as u16).to_le_bytes());
        bytes.push(kind);
        bytes.extend(data);
        bytes
    }

    fn lengths(stream: &[u8]) -> Vec<Result<usize, String>> {
        Records::of(stream).map(|record| record.map(|record| record.len())).collect()
    }

    /// Two records: one of a block and a bit, and one behind the filling of a block.
    fn stream() -> Vec<u8> {
        let mut stream = piece(FIRST, &vec![1; BLOCK_BYTES - HEADER_BYTES]);
        stream.extend(piece(LAST, &vec![2; BLOCK_BYTES - HEADER_BYTES - 3]));
        stream.extend([0; 3]);
        stream.extend(piece(FULL, b"three"));
        stream
    }

    #[test]
    fn records_are_found_across_blocks() {
        assert_eq!(lengths(&stream()), [Ok(2 * (BLOCK_BYTES - HEADER_BYTES) - 3), Ok(5)]);
    }

    #[test]
    fn a_record_that_is_cut_off_is_left_out() {
        let stream = stream();
        assert_eq!(lengths(&stream[..stream.len() - 1]).len(), 1);
        assert_eq!(lengths(&stream[..BLOCK_BYTES + 10]), []);
        assert_eq!(lengths(&[]), []);
    }

    #[test]
    fn a_damaged_record_is_told() {
        for at in [0, 4, 6, 7, 100, BLOCK_BYTES + 6, BLOCK_BYTES + 50] {
            let mut stream = stream();
            stream[at] ^= 4;
            let found = lengths(&stream);
            assert!(found.iter().any(Result::is_err) || found.is_empty(), "byte {at}: {found:?}");
        }
        assert!(lengths(&piece(MIDDLE, b"x"))[0].is_err());
    }
}
