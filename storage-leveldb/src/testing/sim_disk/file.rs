//! A file's content, and what a power failure leaves of it.

use std::sync::Arc;

use super::survival::Chance;

/// Parts of a write survive in pieces that start at multiples of this.
const SECTOR_BYTES: usize = 512;

/// Bytes whose survival is not certain.
#[derive(Debug, Clone, Copy)]
struct Span {
    offset: usize,
    len: usize,
    kind: SpanKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SpanKind {
    /// Written behind the end.
    Extending,
    /// Zeros put behind the end, some of which may have been replaced since.
    Reserved,
    /// Written in place of such zeros.
    Replacing,
}

impl Span {
    fn end(self) -> usize {
        self.offset.saturating_add(self.len)
    }
}

/// Invariants: spans lie in the content; those that made it longer are in order and do not overlap,
/// nor do those that replace zeros; what is in no span is durable, unless the file has been emptied
/// since its last sync; content from `written` on is zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct File {
    content: Arc<Vec<u8>>,
    /// Where the next write goes.
    written: usize,
    /// Writes since the last sync.
    unsynced: Vec<Span>,
    /// Writes that a sync failed to make durable: no later sync will.
    dropped: Vec<Span>,
    /// What it was before it was emptied, if that is not durable.
    before: Option<Arc<File>>,
}

impl File {
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    pub(super) fn len(&self) -> usize {
        self.content.len()
    }

    /// Writes behind what was written: in place of zeros first, then behind the end.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let (replacing, extending) = bytes.split_at(self.reserved().min(bytes.len()));
        let offset = self.written;
        if !replacing.is_empty() {
            self.unsynced.push(Span { offset, len: replacing.len(), kind: SpanKind::Replacing });
            let content = Arc::make_mut(&mut self.content);
            let place = content.iter_mut().skip(offset);
            place.zip(replacing).for_each(|(place, byte)| *place = *byte);
        }
        self.extend(extending, SpanKind::Extending);
        self.written = offset.saturating_add(bytes.len());
    }

    /// How much of what is at the end has not been written.
    pub(super) fn reserved(&self) -> usize {
        self.len().saturating_sub(self.written)
    }

    /// Puts zeros behind the end.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.extend(&vec![0; bytes], SpanKind::Reserved);
    }

    fn extend(&mut self, bytes: &[u8], kind: SpanKind) {
        if !bytes.is_empty() {
            self.unsynced.push(Span { offset: self.len(), len: bytes.len(), kind });
            Arc::make_mut(&mut self.content).extend_from_slice(bytes);
        }
    }

    /// As opening an existing file for writing does.
    pub(super) fn empty(&mut self) {
        let before = Arc::new(std::mem::take(self));
        self.before = Some(before);
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
        self.before = None;
    }

    /// A sync fails, and forgets what it should have written.
    pub(super) fn fail_sync(&mut self) {
        self.dropped.append(&mut self.unsynced);
    }

    /// Changes the content without an operation; it counts as durable.
    pub(super) fn damage(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(Arc::make_mut(&mut self.content));
        self.unsynced.clear();
        self.dropped.clear();
    }

    /// Up to where the content is certain to exist.
    fn certain_len(&self) -> usize {
        let mut len = self.len();
        let extending = |spans: &[Span]| {
            spans.iter().copied().filter(|span| span.kind != SpanKind::Replacing).collect::<Vec<_>>()
        };
        let (unsynced, dropped) = (extending(&self.unsynced), extending(&self.dropped));
        let (mut unsynced, mut dropped) = (unsynced.as_slice(), dropped.as_slice());
        loop {
            let rest = match (unsynced.split_last(), dropped.split_last()) {
                (Some((last, rest)), _) if last.end() >= len => {
                    unsynced = rest;
                    last.offset
                }
                (_, Some((last, rest))) if last.end() >= len => {
                    dropped = rest;
                    last.offset
                }
                _ => return len,
            };
            len = rest;
        }
    }

    /// The file after a power failure; everything left of it is durable.
    pub(super) fn survivor(&self, chance: &mut Chance) -> Self {
        if let Some(before) = &self.before
            && !chance.survives()
        {
            return before.survivor(chance);
        }
        if self.unsynced.is_empty() && self.dropped.is_empty() {
            return Self { content: self.content.clone(), ..Self::default() };
        }
        let mut content = self.content.to_vec();
        let mut len = self.certain_len();
        for span in self.dropped.iter().chain(&self.unsynced) {
            let mut zeros = Vec::new();
            let bytes = match span.kind {
                // What is lost of zeros is their length alone; what has replaced them has a fate of
                // its own.
                SpanKind::Reserved => {
                    zeros.resize(span.len, 0);
                    zeros.as_mut_slice()
                }
                _ => content.get_mut(span.offset..span.end()).unwrap_or_default(),
            };
            len = len.max(span.offset.saturating_add(survive(bytes, span.offset, chance)));
        }
        content.truncate(len);
        Self { content: Arc::new(content), ..Self::default() }
    }
}

/// Decides what is left of one write, whose bytes become zeros where they are lost; answers how
/// long the write left the file, from its offset. 0: nothing of it happened.
fn survive(bytes: &mut [u8], offset: usize, chance: &mut Chance) -> usize {
    if chance.survives() {
        return bytes.len();
    }
    let Some(random) = chance.random() else {
        bytes.fill(0);
        return 0;
    };
    let torn_at = random.position(bytes.len().saturating_add(1));
    match random.below(4) {
        // Nothing. What comes after it in the file may be there; then this reads as zeros.
        0 => {
            bytes.fill(0);
            0
        }
        // Torn.
        1 => {
            bytes.iter_mut().skip(torn_at).for_each(|byte| *byte = 0);
            torn_at
        }
        // The length, but not all of the bytes.
        2 => {
            bytes.iter_mut().skip(torn_at).for_each(|byte| *byte = 0);
            bytes.len()
        }
        // Some sectors.
        _ => {
            let mut lost = false;
            for (at, byte) in (offset..).zip(bytes.iter_mut()) {
                if at == offset || at.is_multiple_of(SECTOR_BYTES) {
                    lost = random.one_in(2);
                }
                if lost {
                    *byte = 0;
                }
            }
            if random.one_in(2) { bytes.len() } else { torn_at }
        }
    }
}
