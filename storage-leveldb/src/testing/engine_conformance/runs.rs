//! Runs: written once, and read by many.

#![allow(clippy::expect_used, reason = "a check fails by panicking")]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;

use super::model::{EVERYTHING, Model, puts};
use crate::engine::{EngineFactory, KeyRange, Run, ScanLimit};
use crate::testing::random::Random;

const RUN: &str = "runs/1";
const READERS: u64 = 4;
/// Questions to one random run, of each reader.
const QUESTIONS: usize = 150;

/// One check, on a factory of its own.
type Check = fn(&Arc<dyn EngineFactory>);

const CHECKS: [(&str, Check); 6] = [
    ("an empty run has nothing", an_empty_run_has_nothing),
    ("a run has what was pushed", a_run_has_what_was_pushed),
    ("keys and values of every size are kept in a run", keys_and_values_of_every_size_are_kept_in_a_run),
    ("a scan of a run stops at the pair that reaches a limit", a_scan_of_a_run_stops_at_its_limit),
    ("a run that was not finished does not open", a_run_that_was_not_finished_is_no_shorter_run),
    ("two runs are two runs", two_runs_are_two_runs),
];

/// Puts the runs of an engine through all that the contract says of them, nothing happening to the
/// process. `make` answers a factory over an empty place, each time it is called.
///
/// # Panics
/// With the name of the check, if they do not pass.
pub fn check_runs(make: &dyn Fn() -> Arc<dyn EngineFactory>) {
    for (name, check) in CHECKS {
        println!("{name}");
        check(&make());
    }
}

/// Compares a random run with a map: four threads ask for keys that are there and such that are
/// not, and scan.
///
/// # Panics
/// With the seed, if an answer is wrong.
pub fn check_random_run(factory: &Arc<dyn EngineFactory>, seed: u64) {
    let mut random = Random::new(seed);
    let pairs = random_pairs(&mut random);
    let model = model_of(&pairs);
    let run = written(factory, Path::new(RUN), &model.pairs());
    assert!(everything(run.as_ref()) == model.pairs(), "seed {seed}: the whole");
    ask_from_threads(run.as_ref(), &model, seed);
    drop(run);
    let again = open(factory, Path::new(RUN));
    ask(again.as_ref(), &model, &mut random, seed);
}

fn model_of(pairs: &[(Vec<u8>, Vec<u8>)]) -> Model {
    let mut model = Model::default();
    model.apply(&puts(pairs.iter().map(|(key, value)| (key, value))));
    model
}

/// Writes and opens a run.
pub(super) fn written(
    factory: &Arc<dyn EngineFactory>,
    dir: &Path,
    pairs: &[(Bytes, Bytes)],
) -> Arc<dyn Run> {
    let mut writer = factory.write_run(dir).expect("a run begins");
    for (key, value) in pairs {
        writer.push(key, value).expect("a pair");
    }
    writer.finish().expect("the run is complete");
    open(factory, dir)
}

pub(super) fn open(factory: &Arc<dyn EngineFactory>, dir: &Path) -> Arc<dyn Run> {
    factory.clone().open_run(dir).expect("the run opens")
}

pub(super) fn everything(run: &dyn Run) -> Vec<(Bytes, Bytes)> {
    run.scan(&KeyRange::all(), EVERYTHING).expect("a scan")
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

fn ask_from_threads(run: &dyn Run, model: &Model, seed: u64) {
    thread::scope(|scope| {
        for reader in 0..READERS {
            scope.spawn(move || ask(run, model, &mut Random::of(&[seed, reader]), seed));
        }
    });
}

fn ask(run: &dyn Run, model: &Model, random: &mut Random, seed: u64) {
    for _ in 0..QUESTIONS {
        let key = random_key(random);
        let found = run.get(&key).expect("a get");
        assert!(found.as_ref() == model.get(&key), "seed {seed}: get {key:?}");
        let range = random_range(random);
        let limit = ScanLimit { pairs: random.position(40), bytes: random.position(20_000) };
        let found = run.scan(&range, limit).expect("a scan");
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

fn an_empty_run_has_nothing(factory: &Arc<dyn EngineFactory>) {
    let run = written(factory, Path::new(RUN), &[]);
    assert_eq!(everything(run.as_ref()), []);
    assert_eq!(run.get(b"k").expect("a get"), None);
}

fn a_run_has_what_was_pushed(factory: &Arc<dyn EngineFactory>) {
    let pairs = numbered(0..1000, 100);
    let run = written(factory, Path::new(RUN), &pairs);
    for _ in 0..2 {
        for (key, value) in &pairs {
            assert_eq!(run.get(key).expect("a get").as_ref(), Some(value), "{key:?}");
            let longer = [key, &b"\0"[..]].concat();
            assert_eq!(run.get(&longer).expect("a get"), None, "{longer:?}");
        }
        for absent in [&b""[..], b"0", b"999999", b"00000", b"\xff\xff"] {
            assert_eq!(run.get(absent).expect("a get"), None, "{absent:?}");
        }
        assert!(everything(run.as_ref()) == pairs);
    }
    let again = open(factory, Path::new(RUN));
    assert!(everything(again.as_ref()) == pairs, "opened twice at a time");
}

fn keys_and_values_of_every_size_are_kept_in_a_run(factory: &Arc<dyn EngineFactory>) {
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
    let run = written(factory, Path::new(RUN), &pairs);
    for (key, value) in &pairs {
        let found = run.get(key).expect("a get");
        assert!(found.as_ref() == Some(value), "a key of {}, a value of {} bytes", key.len(), value.len());
    }
    assert!(everything(run.as_ref()) == pairs, "scan");
}

fn a_scan_of_a_run_stops_at_its_limit(factory: &Arc<dyn EngineFactory>) {
    // A pair is 106 bytes.
    let pairs = numbered(0..300, 100);
    let run = written(factory, Path::new(RUN), &pairs);
    let count = |pairs, bytes| run.scan(&KeyRange::all(), ScanLimit { pairs, bytes }).expect("a scan").len();
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
            let page = run.scan(&next, limit).expect("a scan");
            let Some((last, _)) = page.last() else { break };
            next.start = [last, &[0][..]].concat().into();
            pages.extend(page);
        }
        assert!(pages == pairs, "{limit:?}: {} pairs", pages.len());
    }
}

/// It may open only if it has everything, which an engine cannot know.
fn a_run_that_was_not_finished_is_no_shorter_run(factory: &Arc<dyn EngineFactory>) {
    let pairs = numbered(0..500, 100);
    let mut writer = factory.write_run(Path::new(RUN)).expect("a run begins");
    for (key, value) in &pairs {
        writer.push(key, value).expect("a pair");
    }
    drop(writer);
    if let Ok(run) = factory.clone().open_run(Path::new(RUN)) {
        // Only the owner of the directory knows which of its runs were finished.
        let found = everything(run.as_ref());
        assert!(pairs.starts_with(&found), "{} pairs that were never pushed", found.len());
    }
}

fn two_runs_are_two_runs(factory: &Arc<dyn EngineFactory>) {
    let (one, two) = (numbered(0..300, 50), numbered(100..500, 60));
    let first = written(factory, Path::new("runs/1"), &one);
    let second = written(factory, Path::new("runs/2"), &two);
    assert!(everything(first.as_ref()) == one);
    assert!(everything(second.as_ref()) == two);
    drop(first);
    assert!(everything(second.as_ref()) == two);
}
