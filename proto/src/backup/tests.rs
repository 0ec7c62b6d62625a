//! Attacks the file: whatever is cut off, changed or put behind it is refused, and takes no memory
//! that its bytes do not pay for.

use std::io::Read as _;

use super::{BackupError, BackupReader, BackupWriter, MAX_BLOCK_BYTES, MAX_HEADER_BYTES};
use crate::node::v1::BackupHeader;

const SEED_VARIABLE: &str = "BACKUP_SEED";
const RANDOM_DAMAGES: usize = 20_000;

fn header() -> BackupHeader {
    BackupHeader {
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        node_id: 2,
        application: "kv".to_owned(),
        log_index: 77,
        revision: Some(70),
        ..BackupHeader::default()
    }
}

fn backup(blocks: &[&[u8]]) -> Vec<u8> {
    let (mut writer, first) = BackupWriter::begin(&header()).unwrap();
    let mut file = first.to_vec();
    for block in blocks {
        file.extend(writer.block(block).unwrap());
    }
    file.extend(writer.end());
    file
}

fn verify(file: &[u8]) -> Result<u64, BackupError> {
    BackupReader::open(file)?.verify()
}

#[test]
fn what_was_written_is_read() {
    let file = backup(&[b"one", b"", b"two", &[7; MAX_BLOCK_BYTES]]);
    let mut reader = BackupReader::open(&*file).unwrap();
    assert_eq!(*reader.header(), header());
    let mut snapshot = Vec::new();
    reader.read_to_end(&mut snapshot).unwrap();
    assert_eq!(snapshot, [&b"onetwo"[..], &[7; MAX_BLOCK_BYTES]].concat());
    assert_eq!(reader.position(), file.len() as u64);
    assert_eq!(verify(&file).unwrap(), snapshot.len() as u64);
    assert_eq!(verify(&backup(&[])).unwrap(), 0);
}

#[test]
fn what_can_be_is_compressed_and_the_rest_is_not_longer() {
    let random: Vec<u8> =
        (0..MAX_BLOCK_BYTES as u64).map(|n| ((n * n) ^ ((n * 2_654_435_761) >> 7)) as u8).collect();
    let size = |block: &[u8]| backup(&[block]).len() - backup(&[]).len();
    // Two lengths and a checksum.
    const AROUND: usize = 12;
    assert!(size(&[7; MAX_BLOCK_BYTES]) < MAX_BLOCK_BYTES / 100);
    for block in [&random[..], b"1", &random[..100]] {
        assert!(size(block) <= block.len() + AROUND, "{} bytes", block.len());
        let mut read = Vec::new();
        BackupReader::open(&*backup(&[block])).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == block);
    }
}

/// Its checksum is right, so that a program wrote it so: the length counts, and no more memory is
/// taken.
#[test]
fn a_block_that_decompresses_to_another_length_is_refused() {
    let long = lz4_flex::block::compress(&[7; 10_000]);
    for length in [9_999_u32, 10_001] {
        let (_, first) = BackupWriter::begin(&header()).unwrap();
        let block = [&(long.len() as u32).to_le_bytes()[..], &length.to_le_bytes(), &long].concat();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&first[..first.len() - 4]), &block);
        let file = [&*first, &block, &crc.to_le_bytes()].concat();
        assert!(matches!(verify(&file).unwrap_err(), BackupError::Block { .. }), "{length}");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let file = backup(&[b"the first block", b"and another"]);
    for at in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(verify(&damaged).is_err(), "bit {at}");
    }
    for end in 0..file.len() {
        let error = verify(&file[..end]).unwrap_err();
        assert!(matches!(error, BackupError::CutOff { .. } | BackupError::NoBackup), "{end}: {error}");
    }
    let behind = [&*file, &[0]].concat();
    assert!(matches!(verify(&behind).unwrap_err(), BackupError::BehindEnd { .. }));
}

/// Bits, cuts, swapped and repeated pieces, and pieces of another backup of the same length.
#[test]
fn random_damage_is_refused() {
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    println!("{SEED_VARIABLE}={seed}");
    let mut state = seed;
    let mut random = move |below: usize| {
        // Splitmix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    };
    // Half of the blocks can be compressed.
    let mut varied =
        |n: u8| (0..100).map(|_| if n.is_multiple_of(2) { n } else { random(256) as u8 }).collect();
    let blocks: Vec<Vec<u8>> = (0..20).map(&mut varied).collect();
    let others: Vec<Vec<u8>> = (20..40).map(&mut varied).collect();
    let slices = |blocks: &[Vec<u8>]| backup(&blocks.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (file, other) = (slices(&blocks), slices(&others));
    assert_eq!(file.len(), other.len());
    for run in 0..RANDOM_DAMAGES {
        let mut damaged = file.clone();
        let (from, to) = (random(file.len()), random(file.len()));
        let length = random(300).min(file.len() - from.max(to));
        match random(5) {
            0 => damaged[from] ^= 1 << random(8),
            1 => damaged.truncate(from),
            2 => damaged[from..from + length].copy_from_slice(&other[from..from + length]),
            3 => {
                let piece = damaged[from..from + length].to_vec();
                damaged[to..to + length].copy_from_slice(&piece);
            }
            _ => drop(damaged.drain(from..from + length)),
        }
        assert!(damaged == file || verify(&damaged).is_err(), "run {run}: {from} {to} {length}");
    }
}

#[test]
fn lengths_that_cannot_be_are_refused_before_memory_is_taken() {
    let mut file = backup(&[b"block"]);
    file[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(verify(&file).unwrap_err(), BackupError::HeaderLength(_)));
    let (_, first) = BackupWriter::begin(&header()).unwrap();
    // Of the file, of the snapshot.
    for lengths in [[MAX_BLOCK_BYTES as u32 + 1; 2], [1, MAX_BLOCK_BYTES as u32 + 1], [2, 1]] {
        let file = [&*first, &lengths.map(u32::to_le_bytes).concat()].concat();
        assert!(matches!(verify(&file).unwrap_err(), BackupError::BlockLength { .. }), "{lengths:?}");
    }
    let (mut writer, _) = BackupWriter::begin(&header()).unwrap();
    assert!(matches!(writer.block(&vec![0; MAX_BLOCK_BYTES + 1]).unwrap_err(), BackupError::TooLong(_)));
    let long = BackupHeader { cluster_name: "x".repeat(MAX_HEADER_BYTES), ..header() };
    assert!(matches!(BackupWriter::begin(&long).unwrap_err(), BackupError::TooLong(_)));
}

#[test]
fn other_files_are_told() {
    for file in [&b""[..], b"RNBACKU", b"SNAP\x01 and so on"] {
        assert!(matches!(verify(file).unwrap_err(), BackupError::NoBackup), "{file:?}");
    }
    let mut later = backup(&[]);
    later[8] = 2;
    assert!(matches!(verify(&later).unwrap_err(), BackupError::Format { found: 2 }));
}

/// The example in docs/FORMAT.md.
#[test]
fn the_documented_bytes_are_a_backup() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/FORMAT.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, example) = document.split_once("with the stream `01 02 03`:\n\n```\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let bytes = example.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
    let bytes: Vec<u8> = bytes.collect();
    let mut reader = BackupReader::open(&*bytes).unwrap();
    let mut snapshot = Vec::new();
    reader.read_to_end(&mut snapshot).unwrap();
    assert_eq!((reader.header(), &*snapshot), (&BackupHeader::default(), &[1, 2, 3][..]));
}
