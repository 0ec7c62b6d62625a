//! Tables: written once, and read by many.

#![allow(clippy::expect_used, reason = "a check fails by panicking")]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;

use super::model::{EVERYTHING, Model, puts};
use crate::engine::{EngineFactory, Table};
use crate::scan::{KeyRange, ScanLimit};
use crate::testing::random::Random;

const TABLE: &str = "tables/1";
const READERS: u64 = 4;
/// Questions to one random table, of each reader.
const QUESTIONS: usize = 150;

/// One check, on a factory of its own.
type Check = fn(&Arc<dyn EngineFactory>);

const CHECKS: [(&str, Check); 6] = [
    ("an empty table has nothing", an_empty_table_has_nothing),
    ("a table has what was pushed", a_table_has_what_was_pushed),
    ("keys and values of every size are kept in a table", keys_and_values_of_every_size_are_kept_in_a_table),
    ("a scan of a table stops at the pair that reaches a limit", a_scan_of_a_table_stops_at_its_limit),
    ("a table that was not finished does not open", a_table_that_was_not_finished_is_no_shorter_table),
    ("two tables are two tables", two_tables_are_two_tables),
];

/// Puts the tables of an engine through all that the contract says of them, nothing happening to
/// the process. `make` answers a factory over an empty place, each time it is called.
///
/// # Panics
/// With the name of the check, if they do not pass.
pub fn check_tables(make: &dyn Fn() -> Arc<dyn EngineFactory>) {
    for (name, check) in CHECKS {
        println!("{name}");
        check(&make());
    }
}

/// Compares a random table with a map: four threads ask for keys that are there and such that are
/// not, and scan.
///
/// # Panics
/// With the seed, if an answer is wrong.
pub fn check_random_table(factory: &Arc<dyn EngineFactory>, seed: u64) {
    let mut random = Random::new(seed);
    let pairs = random_pairs(&mut random);
    let model = model_of(&pairs);
    let table = written(factory, Path::new(TABLE), &model.pairs());
    assert!(everything(table.as_ref()) == model.pairs(), "seed {seed}: the whole");
    ask_from_threads(table.as_ref(), &model, seed);
    drop(table);
    let again = open(factory, Path::new(TABLE));
    ask(again.as_ref(), &model, &mut random, seed);
}

fn model_of(pairs: &[(Vec<u8>, Vec<u8>)]) -> Model {
    let mut model = Model::default();
    model.apply(&puts(pairs.iter().map(|(key, value)| (key, value))));
    model
}

/// Writes and opens a table.
pub(super) fn written(
    factory: &Arc<dyn EngineFactory>,
    dir: &Path,
    pairs: &[(Bytes, Bytes)],
) -> Arc<dyn Table> {
    let mut writer = factory.write_table(dir).expect("a table begins");
    for (key, value) in pairs {
        writer.push(key, value).expect("a pair");
    }
    writer.finish().expect("the table is complete");
    open(factory, dir)
}

pub(super) fn open(factory: &Arc<dyn EngineFactory>, dir: &Path) -> Arc<dyn Table> {
    factory.clone().open_table(dir).expect("the table opens")
}

pub(super) fn everything(table: &dyn Table) -> Vec<(Bytes, Bytes)> {
    table.scan(&KeyRange::all(), EVERYTHING).expect("a scan")
}

/// Some hundred pairs, most of them small; keys of two lengths, so that some are the beginnings of
/// others.
fn random_pairs(random: &mut Random) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..random.position(900))
        .map(|_| (random_key(random), vec![random.position(256) as u8; random_len(random)]))
        .collect()
}

fn random_len(random: &mut Random) -> usize {
    let most = random.choose(&[1, 30, 300, 300, 3000, 20_000]).copied().unwrap_or(1);
    random.position(most)
}

fn random_key(random: &mut Random) -> Vec<u8> {
    let digits = format!("{:03}", random.position(1000)).into_bytes();
    let more = [&b""[..], b"", b"\0", b"\x01\x01\0", b"\xff"];
    [&digits, random.choose(&more).copied().unwrap_or_default()].concat()
}

fn ask_from_threads(table: &dyn Table, model: &Model, seed: u64) {
    thread::scope(|scope| {
        for reader in 0..READERS {
            scope.spawn(move || ask(table, model, &mut Random::of(&[seed, reader]), seed));
        }
    });
}

fn ask(table: &dyn Table, model: &Model, random: &mut Random, seed: u64) {
    for _ in 0..QUESTIONS {
        let key = random_key(random);
        let found = table.get(&key).expect("a get");
        assert!(found.as_ref() == model.get(&key), "seed {seed}: get {key:?}");
        let range = random_range(random);
        let limit = ScanLimit { pairs: random.position(40), bytes: random.position(20_000) };
        let found = table.scan(&range, limit).expect("a scan");
        assert!(found == model.scan(&range, limit), "seed {seed}: scan {range:?} {limit:?}");
    }
}

fn random_range(random: &mut Random) -> KeyRange {
    let end = if random.one_in(3) { None } else { Some(random_key(random).into()) };
    KeyRange { start: random_key(random).into(), end }
}

fn numbered(numbers: Range<u32>, value_bytes: usize) -> Vec<(Bytes, Bytes)> {
    numbers.map(|n| (format!("{n:06}").into(), vec![n as u8; value_bytes].into())).collect()
}

fn an_empty_table_has_nothing(factory: &Arc<dyn EngineFactory>) {
    let table = written(factory, Path::new(TABLE), &[]);
    assert_eq!(everything(table.as_ref()), []);
    assert_eq!(table.get(b"k").expect("a get"), None);
}

fn a_table_has_what_was_pushed(factory: &Arc<dyn EngineFactory>) {
    let pairs = numbered(0..1000, 100);
    let table = written(factory, Path::new(TABLE), &pairs);
    for _ in 0..2 {
        for (key, value) in &pairs {
            assert_eq!(table.get(key).expect("a get").as_ref(), Some(value), "{key:?}");
            let longer = [key, &b"\0"[..]].concat();
            assert_eq!(table.get(&longer).expect("a get"), None, "{longer:?}");
        }
        for absent in [&b""[..], b"0", b"999999", b"00000", b"\xff\xff"] {
            assert_eq!(table.get(absent).expect("a get"), None, "{absent:?}");
        }
        assert!(everything(table.as_ref()) == pairs);
    }
    let again = open(factory, Path::new(TABLE));
    assert!(everything(again.as_ref()) == pairs, "opened twice at a time");
}

fn keys_and_values_of_every_size_are_kept_in_a_table(factory: &Arc<dyn EngineFactory>) {
    let keys: [Vec<u8>; 9] = [
        vec![],
        vec![0],
        vec![0, 0],
        (0..=255).collect(),
        vec![b'k'; 127],
        vec![b'k'; 128],
        vec![b'k'; 4096],
        vec![b'k'; 4200],
        vec![0xff],
    ];
    let value_lens = [5000, 0, 1, 127, 128, 65_536, 1 << 20, (4 << 20) + 1, 0];
    let pairs: Vec<(Bytes, Bytes)> = keys
        .iter()
        .zip(value_lens)
        .map(|(key, len)| (key.clone().into(), vec![key.len() as u8; len].into()))
        .collect();
    let table = written(factory, Path::new(TABLE), &pairs);
    for (key, value) in &pairs {
        let found = table.get(key).expect("a get");
        assert!(found.as_ref() == Some(value), "a key of {}, a value of {} bytes", key.len(), value.len());
    }
    assert!(everything(table.as_ref()) == pairs, "scan");
}

fn a_scan_of_a_table_stops_at_its_limit(factory: &Arc<dyn EngineFactory>) {
    // A pair is 106 bytes.
    let pairs = numbered(0..300, 100);
    let table = written(factory, Path::new(TABLE), &pairs);
    let count =
        |pairs, bytes| table.scan(&KeyRange::all(), ScanLimit { pairs, bytes }).expect("a scan").len();
    for (pairs, bytes, expected) in [
        (0, 0, 1),
        (1, usize::MAX, 1),
        (299, usize::MAX, 299),
        (301, usize::MAX, 300),
        (usize::MAX, 1, 1),
        (usize::MAX, 106, 1),
        (usize::MAX, 107, 2),
        (usize::MAX, 106 * 100, 100),
        (100, 106 * 50, 50),
    ] {
        assert_eq!(count(pairs, bytes), expected, "{pairs} pairs, {bytes} bytes");
    }
    for limit in [1, 7, 100].map(|pairs| ScanLimit { pairs, bytes: usize::MAX }) {
        let (mut pages, mut next) = (Vec::new(), KeyRange::all());
        loop {
            let page = table.scan(&next, limit).expect("a scan");
            let Some((last, _)) = page.last() else { break };
            next.start = [last, &[0][..]].concat().into();
            pages.extend(page);
        }
        assert!(pages == pairs, "{limit:?}: {} pairs", pages.len());
    }
}

/// It may open only if it has everything, which an engine cannot know.
fn a_table_that_was_not_finished_is_no_shorter_table(factory: &Arc<dyn EngineFactory>) {
    let pairs = numbered(0..500, 100);
    let mut writer = factory.write_table(Path::new(TABLE)).expect("a table begins");
    for (key, value) in &pairs {
        writer.push(key, value).expect("a pair");
    }
    drop(writer);
    if let Ok(table) = factory.clone().open_table(Path::new(TABLE)) {
        // Only the owner of the directory knows which of its tables were finished.
        let found = everything(table.as_ref());
        assert!(pairs.starts_with(&found), "{} pairs that were never pushed", found.len());
    }
}

fn two_tables_are_two_tables(factory: &Arc<dyn EngineFactory>) {
    let (one, two) = (numbered(0..300, 50), numbered(100..500, 60));
    let first = written(factory, Path::new("tables/1"), &one);
    let second = written(factory, Path::new("tables/2"), &two);
    assert!(everything(first.as_ref()) == one);
    assert!(everything(second.as_ref()) == two);
    drop(first);
    assert!(everything(second.as_ref()) == two);
}
