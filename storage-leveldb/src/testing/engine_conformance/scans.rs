//! Ranges, limits and order.

#![allow(clippy::expect_used, reason = "a check fails by panicking")]

use bytes::Bytes;

use super::model::{EVERYTHING, everything, puts};
use super::open;
use crate::engine::{Batch, Durability, Engine, EngineFactory};
use crate::scan::{KeyRange, ScanLimit};

fn filled(factory: &dyn EngineFactory, keys: &[&[u8]]) -> Box<dyn Engine> {
    let mut engine = open(factory);
    let batch = puts(keys.iter().map(|key| (key, b"value")));
    engine.write(batch, Durability::Ordered).expect("a write");
    engine
}

fn keys(engine: &mut dyn Engine, range: &KeyRange, limit: ScanLimit) -> Vec<Vec<u8>> {
    let found = engine.scan(range, limit).expect("a scan");
    found.into_iter().map(|(key, _)| key.to_vec()).collect()
}

fn range(start: &[u8], end: Option<&[u8]>) -> KeyRange {
    KeyRange { start: Bytes::copy_from_slice(start), end: end.map(Bytes::copy_from_slice) }
}

pub(super) fn keys_are_in_the_order_of_their_bytes(factory: &dyn EngineFactory) {
    let mut sorted: [&[u8]; 10] =
        [b"", b"\0", b"\0\0", b"\0\xff", b"a", b"a\0", b"aa", b"a\xff", b"b", b"\xff\xff"];
    sorted.reverse();
    let mut engine = filled(factory, &sorted);
    sorted.reverse();
    assert_eq!(keys(engine.as_mut(), &KeyRange::all(), EVERYTHING), sorted);
}

pub(super) fn a_range_has_its_start_and_not_its_end(factory: &dyn EngineFactory) {
    let mut engine = filled(factory, &[b"a", b"b", b"b\0", b"c", b"\xff"]);
    let mut found = |start: &[u8], end: Option<&[u8]>| keys(engine.as_mut(), &range(start, end), EVERYTHING);
    assert_eq!(found(b"b", Some(b"c")), [&b"b"[..], b"b\0"]);
    assert_eq!(found(b"b", Some(b"b\0")), [b"b"]);
    assert_eq!(found(b"aa", Some(b"bb")), [&b"b"[..], b"b\0"], "neither end need be there");
    assert_eq!(found(b"c", None), [b"c", b"\xff"]);
    assert_eq!(found(b"", Some(b"a")).len(), 0);
    assert_eq!(found(b"b", Some(b"b")).len(), 0, "an empty range");
    assert_eq!(found(b"c", Some(b"a")).len(), 0, "a range the wrong way round");
    assert_eq!(found(b"\xff\xff", None).len(), 0, "behind the last key");
    assert_eq!(found(b"", None).len(), 5);
}

pub(super) fn a_scan_stops_at_the_pair_that_reaches_a_limit(factory: &dyn EngineFactory) {
    // A pair is six bytes.
    let mut engine = filled(factory, &[b"a", b"b", b"c", b"d"]);
    let mut found = |pairs, bytes| keys(engine.as_mut(), &KeyRange::all(), ScanLimit { pairs, bytes }).len();
    for (pairs, bytes, expected) in [
        (1, usize::MAX, 1),
        (3, usize::MAX, 3),
        (4, usize::MAX, 4),
        (5, usize::MAX, 4),
        (usize::MAX, 1, 1),
        (usize::MAX, 6, 1),
        (usize::MAX, 7, 2),
        (usize::MAX, 12, 2),
        (2, 100, 2),
        (100, 13, 3),
    ] {
        assert_eq!(found(pairs, bytes), expected, "{pairs} pairs, {bytes} bytes");
    }
    assert_eq!(found(0, 0), 1, "at least one if there is one");
}

pub(super) fn a_scan_sees_what_was_just_written(factory: &dyn EngineFactory) {
    let mut engine = filled(factory, &[b"a", b"c"]);
    for round in 0..50_u8 {
        let mut batch = Batch::default();
        batch.put(vec![b'b', round], vec![round].into());
        if let Some(before) = round.checked_sub(1) {
            batch.delete(vec![b'b', before]);
        }
        engine.write(batch, Durability::Ordered).expect("a write");
        let found = keys(engine.as_mut(), &KeyRange::all(), EVERYTHING);
        assert_eq!(found, [&b"a"[..], &[b'b', round], b"c"]);
    }
}

pub(super) fn pages_add_up_to_the_whole(factory: &dyn EngineFactory) {
    let mut engine = open(factory);
    for n in 0..40_u32 {
        let pairs = (0..25).map(|i| (format!("{:04}", (n * 25 + i) * 7 % 1000), vec![b'v'; 100]));
        engine.write(puts(pairs), Durability::Ordered).expect("a write");
    }
    let whole = everything(engine.as_mut());
    assert_eq!(whole.len(), 1000);
    for limit in [ScanLimit { pairs: 7, bytes: usize::MAX }, ScanLimit { pairs: usize::MAX, bytes: 1000 }] {
        let mut pages = Vec::new();
        let mut next = KeyRange::all();
        loop {
            let page = engine.scan(&next, limit).expect("a scan");
            let Some((last, _)) = page.last() else { break };
            next.start = [last, &[0][..]].concat().into();
            pages.extend(page);
        }
        assert!(pages == whole, "{limit:?}: {} pairs", pages.len());
    }
}
