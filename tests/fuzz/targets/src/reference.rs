//! `docs/FORMAT.md` written down a second time, as slowly and plainly as possible: what the framed
//! and paged formats mean, without a line of the code that is under test.

const HEADER_BYTES: usize = 20;
const FRAME_HEADER_BYTES: usize = 20;
const MAX_PAYLOAD_BYTES: usize = 65536;
const PAGE_PAYLOAD_BYTES: usize = 4092;
const PAGE_BYTES: usize = 4096;
const TRAILER_BYTES: usize = 20;

fn crc(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn frame_crc(salt: u64, offset: usize, synced: u64, payload: &[u8]) -> u32 {
    crc(&[
        &salt.to_le_bytes(),
        &(offset as u64).to_le_bytes(),
        &(payload.len() as u32).to_le_bytes(),
        &synced.to_le_bytes(),
        payload,
    ])
}

/// A framed file's header.
pub(crate) fn header(salt: u64) -> Vec<u8> {
    let start = [&b"RLFRAME1"[..], &salt.to_le_bytes()].concat();
    [&start[..], &crc(&[&start]).to_le_bytes()].concat()
}

/// Adds a frame to a framed file.
pub(crate) fn push_frame(file: &mut Vec<u8>, salt: u64, synced: u64, payload: &[u8]) {
    let crc = frame_crc(salt, file.len(), synced, payload);
    file.extend(b"FRM1");
    file.extend((payload.len() as u32).to_le_bytes());
    file.extend(synced.to_le_bytes());
    file.extend(crc.to_le_bytes());
    file.extend(payload);
}

/// A complete framed file with this stream.
pub(crate) fn framed(salt: u64, stream: &[u8]) -> Vec<u8> {
    let mut file = header(salt);
    for payload in stream.chunks(MAX_PAYLOAD_BYTES) {
        push_frame(&mut file, salt, 0, payload);
    }
    file
}

/// A valid frame and where it lies.
pub(crate) struct Frame<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) synced: u64,
    pub(crate) payload: &'a [u8],
}

fn frame_at(file: &[u8], start: usize, salt: u64) -> Option<Frame<'_>> {
    let head = file.get(start..start + FRAME_HEADER_BYTES)?;
    let len = u32_at(head, 4) as usize;
    let synced = u64_at(head, 8);
    if &head[..4] != b"FRM1" || len == 0 || len > MAX_PAYLOAD_BYTES || synced > start as u64 {
        return None;
    }
    let end = start + FRAME_HEADER_BYTES + len;
    let payload = file.get(start + FRAME_HEADER_BYTES..end)?;
    (u32_at(head, 16) == frame_crc(salt, start, synced, payload)).then_some(Frame {
        start,
        end,
        synced,
        payload,
    })
}

fn salt_of(file: &[u8]) -> Option<u64> {
    let head = file.get(..HEADER_BYTES)?;
    (head == header(u64_at(head, 8))).then(|| u64_at(head, 8))
}

/// The valid frames from the start of a file on, and where the first bad one would start, if the
/// file does not end there; `None` without a valid header.
pub(crate) fn frames(file: &[u8]) -> Option<(Vec<Frame<'_>>, Option<usize>)> {
    let salt = salt_of(file)?;
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    while at < file.len() {
        let Some(frame) = frame_at(file, at, salt) else { return Some((frames, Some(at))) };
        at = frame.end;
        frames.push(frame);
    }
    Some((frames, None))
}

/// What a framed file says; `None`: it is damaged.
pub(crate) fn stream(file: &[u8], may_be_torn: bool) -> Option<Vec<u8>> {
    let Some((frames, bad)) = frames(file) else {
        return (may_be_torn && file.len() <= HEADER_BYTES).then(Vec::new);
    };
    let stream = frames.iter().map(|frame| frame.payload).collect::<Vec<_>>().concat();
    match bad {
        // What is complete is not empty.
        None => (may_be_torn || !stream.is_empty()).then_some(stream),
        Some(_) if !may_be_torn => None,
        Some(bad) => (!is_called_durable(file, bad)).then_some(stream),
    }
}

/// Whether a valid frame behind the bad one says that the bad one had been synced.
fn is_called_durable(file: &[u8], bad: usize) -> bool {
    let salt = salt_of(file).unwrap();
    let mut at = bad + 1;
    while at < file.len() {
        match frame_at(file, at, salt) {
            Some(frame) if frame.synced > bad as u64 => return true,
            Some(frame) => at = frame.end,
            None => at += 1,
        }
    }
    false
}

/// The payload of the last valid frame, as WITNESS is read: bad ones are stepped over.
pub(crate) fn last_record(file: &[u8]) -> Option<Vec<u8>> {
    let salt = salt_of(file)?;
    let (mut last, mut at) = (None, HEADER_BYTES);
    while at < file.len() {
        let frame = frame_at(file, at, salt);
        at = frame.as_ref().map_or(at + 1, |frame| frame.end);
        last = frame.map(|frame| frame.payload.to_vec()).or(last);
    }
    last
}

/// The payload length of a table file; `None`: its trailer is damaged.
pub(crate) fn paged_len(name: &str, file: &[u8]) -> Option<u64> {
    let trailer = &file[file.len().checked_sub(TRAILER_BYTES)?..];
    let payload_len = u64_at(trailer, 8);
    let pages = payload_len.div_ceil(PAGE_PAYLOAD_BYTES as u64);
    let file_len = u128::from(payload_len) + 4 * u128::from(pages) + TRAILER_BYTES as u128;
    let valid = &trailer[..8] == b"RLPAGED1"
        && u32_at(trailer, 16) == crc(&[name.as_bytes(), &trailer[..16]])
        && file_len == file.len() as u128;
    valid.then_some(payload_len)
}

/// What reading `len` bytes at `offset` of a table file with a valid trailer answers; `None`:
/// damage.
pub(crate) fn paged_read(name: &str, file: &[u8], offset: u64, len: usize) -> Option<Vec<u8>> {
    let payload_len = paged_len(name, file)?;
    let end = offset.saturating_add(len as u64).min(payload_len);
    if offset >= end {
        return Some(Vec::new());
    }
    let (first, last) = (offset / PAGE_PAYLOAD_BYTES as u64, (end - 1) / PAGE_PAYLOAD_BYTES as u64);
    let mut payload = Vec::new();
    for page in first..=last {
        let start = usize::try_from(page).unwrap() * PAGE_BYTES;
        let page_end = (start + PAGE_BYTES).min(file.len() - TRAILER_BYTES);
        let (content, sum) = file[start..page_end].split_at(page_end - start - 4);
        if u32_at(sum, 0) != crc(&[name.as_bytes(), &page.to_le_bytes(), content]) {
            return None;
        }
        payload.extend(content);
    }
    let skip = usize::try_from(offset - first * PAGE_PAYLOAD_BYTES as u64).unwrap();
    Some(payload[skip..skip + usize::try_from(end - offset).unwrap()].to_vec())
}
