//! Framed files: LevelDB's logs, MANIFEST and CURRENT, markers and snapshots.

use storage_leveldb::testing::formats::{
    FramedStep, decode_framed, decode_witnessed, last_record, stream_framed, write_framed,
};

use crate::damage::damage;
use crate::input::Input;
use crate::reference;

const MAX_STEPS: usize = 24;

/// Any bytes, and frames with right checksums that tell any lies: the readers agree with
/// `docs/FORMAT.md` to the byte.
pub fn framed_file(data: &[u8]) {
    let mut input = Input::new(data);
    let file = if input.flag() { composed(&mut input) } else { input.rest().to_vec() };
    for may_be_torn in [false, true] {
        let found = decode_framed(&file, may_be_torn).ok();
        assert_eq!(found, reference::stream(&file, may_be_torn), "may be torn: {may_be_torn}");
    }
    assert_eq!(stream_framed(&file).ok(), reference::stream(&file, false), "piece by piece");
    assert_eq!(last_record(&file).ok(), reference::last_record(&file), "the last record");
}

fn composed(input: &mut Input<'_>) -> Vec<u8> {
    let salt = u64::from(input.u8());
    let mut file = reference::header(salt);
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        match input.u8() % 5 {
            0 => file.extend(input.sized()),
            1 => reference::push_frame(&mut file, salt.wrapping_add(1), 0, input.sized()),
            2 => {
                // Up to just over the longest frame.
                let payload = vec![input.u8(); 65_500 + input.below(80)];
                reference::push_frame(&mut file, salt, 0, &payload);
            }
            _ => {
                let synced = u64::from(input.u16());
                reference::push_frame(&mut file, salt, synced, input.sized());
            }
        }
    }
    file
}

/// A log as the writer writes it, then damaged: what is read is a prefix of what was written, and
/// damage to what an intact frame calls durable is never taken for a torn tail.
pub fn framed_damage(data: &[u8]) {
    let mut input = Input::new(data);
    let steps = steps(&mut input);
    let mut written = Vec::new();
    for step in &steps {
        if let FramedStep::Write(bytes) = step {
            written.extend_from_slice(bytes);
        }
    }
    let (file, synced) = write_framed(&steps).unwrap();
    let (frames, bad) = reference::frames(&file).expect("a header");
    assert_eq!(bad, None, "the writer made a bad frame");
    for frame in &frames {
        let durable = synced.iter().filter(|mark| **mark <= frame.start).max().copied();
        assert_eq!(
            frame.synced,
            durable.unwrap_or(20) as u64,
            "what the frame at {} calls durable",
            frame.start
        );
    }
    assert_eq!(decode_framed(&file, true).as_ref(), Ok(&written));
    assert_eq!(
        decode_framed(&file, false).ok(),
        Some(&written).filter(|written| !written.is_empty()).cloned()
    );

    let mut damaged = file.clone();
    damage(&mut damaged, &mut input);
    let intact = |frame: &&reference::Frame<'_>| {
        damaged.get(frame.start..frame.end) == Some(&file[frame.start..frame.end])
    };
    let header_is_intact = damaged.get(..20) == Some(&file[..20]);
    let kept: Vec<u8> =
        frames.iter().take_while(intact).map(|frame| frame.payload).collect::<Vec<_>>().concat();
    let first_bad = frames.iter().find(|frame| !intact(frame));
    let witnessed = first_bad.is_some_and(|bad| {
        frames.iter().filter(intact).any(|frame| frame.start > bad.start && frame.synced > bad.start as u64)
    });

    match decode_framed(&damaged, true) {
        Ok(found) if header_is_intact => {
            assert!(!witnessed, "damage to synced frames was taken for a torn tail");
            assert_eq!(found, kept);
        }
        Ok(found) => assert!(damaged.len() <= 20 && found.is_empty(), "read without a header"),
        Err(_) => assert!(witnessed || !header_is_intact, "a torn tail was taken for damage"),
    }
    // A second file may know of the last sync, as WITNESS does.
    let durable = synced.iter().max().copied().unwrap_or(0);
    let lost = first_bad.is_some_and(|bad| bad.start < durable);
    let found = decode_witnessed(&damaged, &file, durable as u64);
    assert_eq!(found.ok(), (header_is_intact && !witnessed && !lost).then(|| kept.clone()), "with a witness");
    if let Ok(found) = decode_framed(&damaged, false) {
        assert!(header_is_intact && found == kept);
        assert!(found == written || damaged.len() < file.len(), "damage in a complete file");
    }
}

fn steps(input: &mut Input<'_>) -> Vec<FramedStep> {
    let count = usize::from(input.u8()) % MAX_STEPS;
    let mut step = || match input.u8() {
        0..=99 => FramedStep::Sync,
        200 => FramedStep::Write(vec![input.u8(); usize::from(input.u16()) * 2]),
        _ => FramedStep::Write(input.sized().to_vec()),
    };
    (0..count).map(|_| step()).collect()
}
