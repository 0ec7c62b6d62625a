//! What the checks of every engine cannot see: files, damage, and which table files are open.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::filter::{self, Filter};
use super::layout::FOOTER_BYTES;
use crate::disk::{GuardedDisk, max_open_files};
use crate::engine::{Batch, Durability, EngineFactory, LevelDb, LevelDbOptions, Table};
use crate::error::StorageError;
use crate::file::paged::{PagedReader, PagedWriter};
use crate::observer::Silent;
use crate::scan::{KeyRange, ScanLimit};
use crate::testing::{Failure, OperationKind, Random, ReadFailure, SimDisk};

const DIR: &str = "disk/table";
const EVERYTHING: ScanLimit = ScanLimit { pairs: usize::MAX, bytes: usize::MAX };

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn guarded(disk: &SimDisk) -> GuardedDisk {
    GuardedDisk::new(Arc::new(disk.clone()), Arc::new(Silent), Arc::new(()))
}

fn leveldb(disk: &SimDisk, options: LevelDbOptions) -> Arc<LevelDb> {
    Arc::new(LevelDb::new(guarded(disk), options))
}

fn small(disk: &SimDisk) -> Arc<LevelDb> {
    leveldb(disk, LevelDbOptions { table_file_bytes: 1024, ..LevelDbOptions::default() })
}

fn pairs(count: usize, value_bytes: usize) -> Pairs {
    (0..count).map(|n| (format!("key{n:05}").into_bytes(), vec![n as u8; value_bytes])).collect()
}

fn write(factory: &LevelDb, pairs: &Pairs) -> Result<(), StorageError> {
    let mut writer = factory.write_table(Path::new(DIR))?;
    for (key, value) in pairs {
        writer.push(key, value)?;
    }
    writer.finish()
}

fn tables(disk: &SimDisk) -> Vec<(PathBuf, usize)> {
    disk.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "ldb")).collect()
}

/// Above 100 MiB LevelDB moves table files from the second level to the third.
#[test]
fn every_byte_is_written_once_however_many_there_are() {
    let disk = SimDisk::default();
    let (created, deleted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (create, delete) = (created.clone(), deleted.clone());
    disk.watch(move |moment| {
        if moment.path.extension().is_some_and(|e| e == "ldb") {
            let counter = match moment.kind {
                OperationKind::Create => &create,
                OperationKind::Delete => &delete,
                _ => return,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let pairs = pairs(1700, 1 << 16);
    let factory = leveldb(&disk, LevelDbOptions { table_file_bytes: 1 << 20, ..LevelDbOptions::default() });
    write(&factory, &pairs).unwrap();
    let tables = tables(&disk);
    let written: usize = tables.iter().map(|(_, len)| len).sum();
    let data: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(data > 100 << 20 && written < data + data / 100, "{written} bytes for {data}");
    assert!(tables.len() > 90 && created.load(Ordering::Relaxed) == tables.len());
    assert_eq!(deleted.load(Ordering::Relaxed), 0);
    let table = factory.open_table(Path::new(DIR)).unwrap();
    for (key, value) in pairs.iter().step_by(17) {
        assert!(table.get(key).unwrap().as_deref() == Some(value));
    }
}

#[test]
fn a_table_has_no_log_and_its_root_comes_last() {
    let disk = SimDisk::default();
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = names.clone();
    disk.watch(move |moment| {
        let name = moment.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        seen.lock().unwrap().push((moment.kind, name));
    });
    write(&small(&disk), &pairs(200, 50)).unwrap();
    let names = names.lock().unwrap();
    assert!(names.iter().all(|(_, name)| !name.ends_with(".log")));
    let root = names.iter().position(|(_, name)| name.starts_with("CURRENT")).unwrap();
    assert!(
        names[root..].iter().all(|(_, name)| name.starts_with("CURRENT") || name == "table"),
        "{names:?}"
    );
}

#[test]
fn keys_that_do_not_ascend_are_a_fault() {
    for keys in [["b", "a"], ["a", "a"]] {
        let factory = small(&SimDisk::default());
        let mut writer = factory.write_table(Path::new(DIR)).unwrap();
        writer.push(keys[0].as_bytes(), b"").unwrap();
        let error = writer.push(keys[1].as_bytes(), b"").unwrap_err();
        assert!(error.to_string().contains("do not ascend"), "{error}");
        assert!(writer.finish().is_err());
    }
}

#[test]
fn what_is_no_complete_table_does_not_open() {
    let disk = SimDisk::default();
    let factory = small(&disk);
    let mut writer = factory.write_table(Path::new(DIR)).unwrap();
    for (key, value) in pairs(100, 50) {
        writer.push(&key, &value).unwrap();
    }
    drop(writer);
    assert!(factory.clone().open_table(Path::new(DIR)).is_err(), "it was not finished");
    assert!(small(&disk).open_table(Path::new("disk/nothing")).is_err(), "there is nothing");

    let mut engine = small(&disk).open(Path::new("disk/database")).unwrap();
    let mut batch = Batch::default();
    batch.put(b"k".to_vec(), Bytes::new());
    engine.write(batch, Durability::Synced).unwrap();
    drop(engine);
    assert!(small(&disk).open_table(Path::new("disk/database")).is_err(), "a database has a log");
    assert!(small(&disk).write_table(Path::new("disk/database")).is_err(), "there is something");
}

/// Asks for everything, for the key number `first` before the others, as after a fault nothing is
/// answered; what is answered must be right. Answers whether anything was refused.
fn is_refused(disk: &SimDisk, pairs: &Pairs, first: usize, what: &str) -> bool {
    let Ok(table) = small(disk).open_table(Path::new(DIR)) else { return true };
    let mut refused = false;
    // The first fault is the last answer, so others ask again for the rest.
    let scanned = table.scan(&KeyRange::all(), EVERYTHING);
    match scanned {
        Ok(found) => assert!(
            found.iter().map(|(k, v)| (&**k, &**v)).eq(pairs.iter().map(|(k, v)| (&**k, &**v))),
            "{what}: scan"
        ),
        Err(_) => refused = true,
    }
    let asked = if refused { small(disk).open_table(Path::new(DIR)).unwrap() } else { table };
    for (key, value) in pairs.iter().cycle().skip(first % pairs.len()).take(pairs.len()) {
        match asked.get(key) {
            Ok(found) => assert!(found.as_deref() == Some(value), "{what}: {key:?} was {found:?}"),
            Err(_) => refused = true,
        }
    }
    refused
}

fn written(pairs: &Pairs) -> SimDisk {
    let disk = SimDisk::default();
    write(&small(&disk), pairs).unwrap();
    disk
}

#[test]
fn a_flipped_bit_anywhere_is_a_fault_or_harmless() {
    let pairs = pairs(60, 40);
    let disk = written(&pairs);
    assert!(tables(&disk).len() > 2 && !is_refused(&disk, &pairs, 0, "undamaged"));
    let mut random = Random::new(1);
    for (path, len) in disk.files() {
        let mut harmless = 0;
        for offset in 0..len {
            let damaged = disk.copy();
            assert!(damaged.flip_bit(&path, offset, random.position(8) as u8));
            let what = format!("{} at {offset}", path.display());
            harmless += usize::from(!is_refused(&damaged, &pairs, offset, &what));
        }
        // The last record of WITNESS counts, and those before it say nothing.
        assert!(harmless == 0 || path.ends_with("WITNESS"), "{}: {harmless} of {len}", path.display());
    }
}

#[test]
fn a_file_that_is_cut_off_or_missing_is_a_fault() {
    let pairs = pairs(60, 40);
    let disk = written(&pairs);
    for (path, len) in disk.files() {
        let damaged = disk.copy();
        assert!(damaged.remove(&path));
        assert!(is_refused(&damaged, &pairs, 0, "missing"), "{}", path.display());
        for cut in 0..len {
            let damaged = disk.copy();
            assert!(damaged.truncate(&path, cut));
            assert!(is_refused(&damaged, &pairs, cut, "cut off"), "{} at {cut}", path.display());
        }
    }
}

/// Another table's table file of the same name and length, with good checksums.
#[test]
fn another_runs_table_is_a_fault() {
    let pairs = pairs(60, 40);
    let other: Pairs =
        pairs.iter().map(|(key, value)| ([b"kex", &key[3..]].concat(), value.clone())).collect();
    let (disk, others) = (written(&pairs), written(&other));
    for (path, _) in tables(&disk) {
        let mixed = disk.copy();
        assert!(mixed.replace(&path, &others));
        assert!(is_refused(&mixed, &pairs, 0, "mixed up"), "{}", path.display());
    }
}

fn payload(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let reader = PagedReader::open(&guarded(disk), path).unwrap().unwrap();
    let mut bytes = vec![0; reader.payload_len() as usize];
    assert_eq!(reader.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

/// Bytes that make no sense although their pages are good: nothing panics, and behind the data,
/// where nothing is a value and nothing a bit of a filter, nothing is believed.
#[test]
fn nonsense_is_refused_and_never_a_panic() {
    let pairs = pairs(40, 30);
    let disk = written(&pairs);
    let (path, _) = tables(&disk)[0].clone();
    let whole = payload(&disk, &path);
    let footer_at = whole.len() - FOOTER_BYTES as usize;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let damaged = disk.copy();
            let mut writer = PagedWriter::create(&guarded(&damaged), &path).unwrap();
            writer.write(&bytes).unwrap();
            writer.finish().unwrap();
            let table = small(&damaged).open_table(Path::new(DIR)).unwrap();
            let found = table.scan(&KeyRange::all(), EVERYTHING);
            let got: Vec<_> = pairs.iter().map(|(key, _)| table.get(key)).collect();
            // The index is at the end, then comes the footer, with zeros before its magic number.
            let must_be_right = at > footer_at;
            if let (Ok(found), true) = (found, must_be_right) {
                assert!(found.len() == pairs.len() && got.iter().all(|got| matches!(got, Ok(Some(_)))));
            }
        }
    }
}

#[test]
fn filters_are_those_of_leveldb() {
    use rusty_leveldb::{BloomPolicy, FilterPolicy};
    let policy = BloomPolicy::new(10);
    let mut random = Random::new(3);
    for len in 0..40 {
        let key: Vec<u8> = (0..len).map(|_| random.position(256) as u8).collect();
        let more: Vec<u8> = (0..200).map(|n| (n * 7) as u8).collect();
        let all = [&key[..], &more].concat();
        let offsets: Vec<usize> = (0..20).map(|n| if n == 0 { 0 } else { len + (n - 1) * 10 }).collect();
        let of_keys = policy.create_filter(&all, &offsets);
        let mut block = of_keys.clone();
        block.extend([[0; 4], (of_keys.len() as u32).to_le_bytes()].concat());
        block.push(11);
        let filter = Filter::parse(block, [0].into_iter()).unwrap();
        assert!(filter.may_have(0, filter::hash(&key)).unwrap(), "{key:?}");
        for n in 0..200_u32 {
            let other = n.to_le_bytes();
            let expected = policy.key_may_match(&other, &of_keys);
            assert_eq!(filter.may_have(0, filter::hash(&other)).unwrap(), expected);
        }
    }
}

fn ask_from_four_threads(table: &dyn Table, pairs: &Pairs) {
    std::thread::scope(|scope| {
        for reader in 0..4 {
            scope.spawn(move || {
                let mut random = Random::new(reader);
                for _ in 0..2000 {
                    let (key, value) = random.choose(pairs).unwrap();
                    assert!(table.get(key).unwrap().as_ref().map(|found| &found[..]) == Some(&value[..]));
                    assert_eq!(table.get(&[key, &b"x"[..]].concat()).unwrap(), None);
                }
            });
        }
    });
}

#[test]
fn readers_share_few_open_tables() {
    let disk = SimDisk::default();
    let pairs = pairs(400, 60);
    write(&small(&disk), &pairs).unwrap();
    assert!(tables(&disk).len() > 20);
    for (max_tables, max_bytes) in
        [(1, usize::MAX), (3, usize::MAX), (512, 1), (512, 5000), (512, usize::MAX)]
    {
        let options = LevelDbOptions {
            open_tables: max_tables,
            table_cache_bytes: max_bytes,
            ..LevelDbOptions::default()
        };
        let factory = leveldb(&disk, options);
        let (one, two) =
            (factory.clone().open_table(Path::new(DIR)), factory.clone().open_table(Path::new(DIR)));
        let (one, two) = (one.unwrap(), two.unwrap());
        ask_from_four_threads(one.as_ref(), &pairs);
        ask_from_four_threads(two.as_ref(), &pairs);
        let (kept, bytes) = factory.tables.kept();
        assert!(kept <= max_tables && kept > 0, "{kept} of {max_tables}");
        assert!(bytes <= max_bytes || kept == 1, "{bytes} of {max_bytes}");
        drop(one);
        drop(two);
        assert_eq!(factory.tables.kept(), (0, 0), "a table that nobody has any more keeps no table open");
    }
}

/// The benchmark `gets` found that reads of 14,000,000 pairs were thirty times slower than those of
/// 5,000,000: what table files take in memory was more than the limit for it, so that most reads
/// had to open one. `docs/benchmarks/2026-11-27-state.md` and the limit's documentation say how
/// much it is.
#[test]
fn an_open_table_takes_little_for_a_pair() {
    const PAIRS: usize = 100_000;
    let disk = SimDisk::default();
    let pairs: Pairs =
        (0..PAIRS).map(|n| (format!("{:016x}", n * 7919).into_bytes(), vec![1; 257])).collect();
    let factory = leveldb(&disk, LevelDbOptions::default());
    write(&factory, &pairs).unwrap();
    let table = factory.clone().open_table(Path::new(DIR)).unwrap();
    for (key, value) in pairs.iter().step_by(100) {
        assert!(table.get(key).unwrap().as_deref() == Some(value));
    }
    let (kept, bytes) = factory.tables.kept();
    assert_eq!(kept, tables(&disk).len());
    let each = bytes as f64 / PAIRS as f64;
    println!("{each:.2} bytes for a pair");
    assert!((2.0..4.2).contains(&each), "{each} bytes for a pair");
}

/// A storage that may not open a file has failed, and connections need files, too.
#[test]
fn tables_leave_half_of_the_files_to_others() {
    let max_tables = |open_tables| {
        let options = LevelDbOptions { open_tables, ..LevelDbOptions::default() };
        leveldb(&SimDisk::default(), options).tables.max_tables()
    };
    assert_eq!(max_tables(usize::MAX), max_open_files() / 2);
    assert_eq!(max_tables(3), 3);
}

#[test]
fn a_table_is_not_finished_if_anything_failed() {
    use std::io::ErrorKind::{Other, StorageFull};
    let pairs = pairs(60, 40);
    for failure in [Failure::Error(Other), Failure::ShortWrite(StorageFull), Failure::LostSync(Other)] {
        let mut failures = 0;
        for at in 1.. {
            let disk = SimDisk::default();
            disk.fail_at(at, failure);
            let result = write(&small(&disk), &pairs);
            if !disk.has_failed() {
                result.unwrap();
                break;
            }
            failures += 1;
            assert!(result.is_err(), "{failure:?} of operation {at}, and nobody was told");
            assert!(
                small(&disk).open_table(Path::new(DIR)).is_err() || !is_refused(&disk, &pairs, 0, "whole")
            );
        }
        assert!(failures > 30, "{failures}");
    }
}

#[test]
fn a_failing_read_is_a_fault_and_not_a_missing_key() {
    let pairs = pairs(60, 40);
    let disk = written(&pairs);
    for failure in [ReadFailure::Short, ReadFailure::Error(std::io::ErrorKind::Other)] {
        for at in 1.. {
            let disk = disk.copy();
            disk.fail_read_at(at, failure);
            let refused = is_refused(&disk, &pairs, 0, "a failed read");
            if !disk.has_failed() && disk.reads() < at {
                break;
            }
            assert!(refused || !disk.has_failed(), "{failure:?} of read {at}");
        }
    }
}
