//! Reading all of a LevelDB without telling it.
//!
//! rusty-leveldb 4.0.2 counts a snapshot for every iterator and never forgets that there was one:
//! after the first `DB::new_iter` or `DB::get_snapshot` no compaction drops an overwritten or
//! deleted pair any more, and the database only grows (`SnapshotList::empty` never becomes true
//! again, and `oldest` answers a handle number in place of a sequence number). An iterator needs no
//! more of a snapshot than a sequence number to read at, and `DB::new_iter_at` takes a snapshot of
//! any database. So this one comes from a tiny database in memory whose last sequence number is the
//! greatest there is.

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use rusty_leveldb::env::Env;
use rusty_leveldb::{DB, DBIterator, MemEnv, Options, Result, WriteBatch};

/// LevelDB packs a sequence number into 56 bits.
const GREATEST_SEQUENCE: u64 = (1 << 56) - 1;
/// LevelDB's mask over the checksums in its log.
const CRC_MASK_DELTA: u32 = 0xa282_ead8;
/// Type byte of a log record that is in one piece.
const FULL_RECORD: u8 = 1;

/// A source of iterators that see everything written before they were made.
///
/// Making an iterator costs more than seeking with it, so the last one is kept as long as it is
/// right.
///
/// Invariant: `kept` sees all that is in the database, and every table it may open is still there:
/// [`forget`](Self::forget) is called before every write, and `kept` counts only while no file has come or
/// gone (a compaction, which a mere read may start).
pub(super) struct Everything {
    source: DB,
    kept: Option<(u64, DBIterator)>,
}

impl Everything {
    pub(super) fn new() -> Result<Self> {
        let dir = Path::new("everything");
        let env = MemEnv::new();
        let mut batch = WriteBatch::default();
        batch.put(b"k", b"v");
        let mut log = env.open_writable_file(&dir.join("000003.log"))?;
        log.write_all(&log_record(&batch.encode(GREATEST_SEQUENCE)))?;
        drop(log);
        let log = Some(super::env::silent_log());
        let source = DB::open(dir, Options { env: Rc::new(Box::new(env)), log, ..Options::default() })?;
        Ok(Self { source, kept: None })
    }

    /// An iterator over all of `db`, whose files have changed `file_changes` times.
    pub(super) fn iterate(&mut self, db: &mut DB, file_changes: u64) -> Result<&mut DBIterator> {
        let iterator = match self.kept.take().filter(|(made_at, _)| *made_at == file_changes) {
            Some((_, iterator)) => iterator,
            None => db.new_iter_at(self.source.get_snapshot())?,
        };
        Ok(&mut self.kept.insert((file_changes, iterator)).1)
    }

    /// The value of `key` as `DB::get_at` answers it, which may miss one that is there.
    ///
    /// Not `DB::get`: it reads at the last sequence number, and `Table::get` takes a block for one
    /// that ends before the key if its last entry has exactly this key and sequence number. Then
    /// the pair written last was not found in its table, and an older value in an older table was
    /// answered: after a crash an acknowledged entry had the content of a truncated one.
    pub(super) fn get(&mut self, db: &mut DB, key: &[u8]) -> Result<Option<Bytes>> {
        db.get_at(&self.source.get_snapshot(), key)
    }

    /// The database is about to change.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }
}

/// One record of a LevelDB log, as its first bytes.
fn log_record(data: &[u8]) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[FULL_RECORD]), data);
    let mut record = crc.rotate_right(15).wrapping_add(CRC_MASK_DELTA).to_le_bytes().to_vec();
    record.extend((data.len() as u16).to_le_bytes());
    record.push(FULL_RECORD);
    record.extend(data);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_at_the_greatest_sequence_number() {
        let mut everything = Everything::new().unwrap();
        assert_eq!(everything.source.get_snapshot().sequence(), GREATEST_SEQUENCE);
    }
}
