//! Which part of a file a byte belongs to: `docs/FORMAT.md` draws the files.

use std::path::Path;

use crate::file::framed::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC};
use crate::file::{u32_at, u64_at};

const PAGE_BYTES: usize = 4096;
const PAGE_CRC_BYTES: usize = 4;
const TRAILER_BYTES: usize = 20;
/// LevelDB's own.
const FOOTER_BYTES: usize = 48;

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "ldb")
}

/// The part of the file at `path` that byte `at` belongs to.
pub(super) fn region(path: &Path, content: &[u8], at: usize) -> &'static str {
    if is_table(path) { in_table(content, at) } else { in_frames(content, at) }
}

/// Where a file can be cut off so that what is left looks whole: behind frames or pages.
pub(super) fn boundaries(path: &Path, content: &[u8]) -> Vec<usize> {
    if is_table(path) {
        let pages = (0..content.len()).step_by(PAGE_BYTES);
        return pages.chain([content.len().saturating_sub(TRAILER_BYTES)]).collect();
    }
    [FILE_HEADER_BYTES].into_iter().chain(frames(content).map(|(_, end)| end)).collect()
}

/// Start and end of every frame.
fn frames(content: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut start = FILE_HEADER_BYTES;
    std::iter::from_fn(move || {
        let header = content.get(start..)?;
        if header.get(..4)? != FRAME_MAGIC {
            return None;
        }
        let end = start.checked_add(FRAME_HEADER_BYTES)?.checked_add(u32_at(header, 4)? as usize)?;
        Some((std::mem::replace(&mut start, end), end))
    })
}

fn in_frames(content: &[u8], at: usize) -> &'static str {
    if at < FILE_HEADER_BYTES {
        return "file header";
    }
    let frame = frames(content).find(|(start, end)| (*start..*end).contains(&at));
    match frame.map(|(start, _)| at.saturating_sub(start)) {
        Some(0..4) => "frame magic",
        Some(4..8) => "frame length",
        Some(8..16) => "frame synced",
        Some(16..20) => "frame checksum",
        Some(_) => "frame payload",
        // LevelDB's logs are made longer in advance.
        None if content.iter().skip(at).all(|byte| *byte == 0) => "reserved",
        None => "behind the last frame",
    }
}

fn in_table(content: &[u8], at: usize) -> &'static str {
    let pages_end = content.len().saturating_sub(TRAILER_BYTES);
    if at >= pages_end {
        return "trailer";
    }
    let (page, in_page) = (at / PAGE_BYTES, at % PAGE_BYTES);
    let page_end = page.saturating_add(1).saturating_mul(PAGE_BYTES).min(pages_end);
    if at >= page_end.saturating_sub(PAGE_CRC_BYTES) {
        return "page checksum";
    }
    let payload_at = page.saturating_mul(PAGE_BYTES.saturating_sub(PAGE_CRC_BYTES)).saturating_add(in_page);
    match blocks(content) {
        None => "payload",
        Some(blocks) if payload_at >= blocks.footer => "footer",
        Some(blocks) if payload_at >= blocks.index => "index block",
        Some(blocks) if payload_at >= blocks.metaindex => "metaindex block",
        Some(blocks) if payload_at >= blocks.filter => "filter block",
        Some(_) => "data block",
    }
}

/// Where the blocks of a table start, in its payload, in their order.
struct Blocks {
    filter: usize,
    metaindex: usize,
    index: usize,
    footer: usize,
}

fn blocks(content: &[u8]) -> Option<Blocks> {
    let pages_end = content.len().checked_sub(TRAILER_BYTES)?;
    let len = usize::try_from(u64_at(content, pages_end.checked_add(8)?)?).ok()?;
    let pages = content.get(..pages_end)?.chunks(PAGE_BYTES);
    let mut payload = Vec::new();
    for page in pages {
        payload.extend_from_slice(page.get(..page.len().checked_sub(PAGE_CRC_BYTES)?)?);
    }
    let footer = len.checked_sub(FOOTER_BYTES)?;
    let mut handles = payload.get(footer..)?;
    let metaindex = varint(&mut handles)?;
    varint(&mut handles)?;
    let index = varint(&mut handles)?;
    // The first entry of the metaindex: shared, unshared and value length, the filter's name, its
    // handle.
    let mut entry = payload.get(metaindex..index)?;
    varint(&mut entry)?;
    let name_len = varint(&mut entry)?;
    varint(&mut entry)?;
    entry = entry.get(name_len..)?;
    let filter = varint(&mut entry)?;
    Some(Blocks { filter, metaindex, index, footer })
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
