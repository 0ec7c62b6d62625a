//! What the disk and one thread can do without the storage.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::latencies::{Latencies, Summary};
use crate::pairs::{Puts, entry};

const BLOCK_BYTES: usize = 4096;
const ENTRIES_PER_SYNC: u64 = 256;

/// Appends 4 KiB to a file and syncs it, again and again.
pub(crate) fn append_and_sync(path: &Path, time: Duration) -> Summary {
    let mut file = File::create(path).unwrap();
    let latencies = Latencies::default();
    let started = Instant::now();
    while started.elapsed() < time {
        let began = Instant::now();
        file.write_all(&[7; BLOCK_BYTES]).unwrap();
        file.sync_data().unwrap();
        latencies.since(began, 1);
    }
    std::fs::remove_file(path).unwrap();
    latencies.take()
}

/// Encodes entries, checksums and writes them one after the other, with one sync per 256; answers
/// entries per second.
pub(crate) fn one_thread(path: &Path, puts: &mut Puts, pairs: u64, time: Duration) -> f64 {
    let mut file = File::create(path).unwrap();
    let started = Instant::now();
    let mut index = 0;
    let mut group = Vec::new();
    while started.elapsed() < time {
        group.clear();
        for _ in 0..ENTRIES_PER_SYNC {
            index += 1;
            let record = codec::encode(&entry(index, puts.any(pairs))).unwrap();
            group.extend(u32::try_from(record.len()).unwrap().to_le_bytes());
            group.extend(crc32c::crc32c(&record).to_le_bytes());
            group.extend(record);
        }
        file.write_all(&group).unwrap();
        file.sync_data().unwrap();
    }
    let per_second = index as f64 / started.elapsed().as_secs_f64();
    std::fs::remove_file(path).unwrap();
    per_second
}
