//! What is in the log's segments.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::entry::RaftEntry;
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::vote::RaftVote;
use serde::de::DeserializeOwned;

use super::findings::{Findings, frugal};
use super::report::{CheckedLog, CheckedPosition, Progress};
use crate::disk::GuardedDisk;
use crate::engine::{EngineFactory, LevelDb};
use crate::error::StorageError;
use crate::log::key::{self, MetaKey};
use crate::log::{
    BlockReader, LOG_MANIFEST, LogManifest, PurgePoint, Record, Segment, SegmentRecord, Segments,
};
use crate::options::Options;
use crate::raft::log_records::purged_id;
use crate::scan::{KeyRange, ScanLimit};

/// Pairs of a segment read at once.
const PAGE: ScanLimit = ScanLimit { pairs: 4096, bytes: 1 << 20 };

/// The log, read from end to end.
pub(super) struct CheckLog<C: RaftTypeConfig> {
    segments: Segments,
    dir: PathBuf,
    purged: Option<LogIdOf<C>>,
    committed: Option<LogIdOf<C>>,
    first: Option<LogIdOf<C>>,
    /// The last entry; the last purged one if there is none.
    last: Option<LogIdOf<C>>,
}

impl<C: RaftTypeConfig> CheckLog<C> {
    /// `None` if it cannot be read; then a problem says why.
    pub(super) fn read(findings: &mut Findings<'_>, dir: &Path, options: &Options) -> Option<Self> {
        let disk = findings.overlay();
        let manifest = findings.sound(LogManifest::read(&disk, dir))?;
        let Some(manifest) = manifest else {
            findings.damaged(&dir.join(LOG_MANIFEST), "missing");
            return None;
        };
        let segments = open(findings, &disk, dir, &manifest, options)?;
        let newest = segments.newest()?.clone();
        let vote: Option<VoteOf<C>> = record_at(findings, dir, &newest, MetaKey::Vote)?;
        let committed: Option<LogIdOf<C>> = record_at(findings, dir, &newest, MetaKey::Committed)?;
        let newest_purged: Option<PurgePoint> = record_at(findings, dir, &newest, MetaKey::Purged)?;
        let mut purged: Option<LogIdOf<C>> = None;
        for point in [newest_purged, manifest.purged].into_iter().flatten() {
            let id = purged_id::<C>(&point).map_err(|reason| findings.damaged(dir, reason)).ok()?;
            purged = purged.max(Some(id));
        }

        let mut entries = Entries::<C>::after(purged.clone());
        for (segment, range) in segments.covers() {
            let segment_dir = dir.join(segment.record.name());
            let scan = |range: &KeyRange, limit| segment.scan(range, limit);
            let mut blocks = BlockReader::default();
            let read = each_page(scan, |page| {
                for (key, value) in page {
                    let found = entries_before(findings, &segment_dir, &mut blocks, key, value);
                    entries.see_all(findings, &segment_dir, &range, found);
                }
                findings.progress(Progress::Entries(entries.count));
            });
            findings.opened(&segment_dir, read)?;
            entries.see_all(findings, &segment_dir, &range, blocks.finish(u64::MAX));
            findings.progress(Progress::Entries(entries.count));
        }
        let Entries { first, last, count, bytes, .. } = entries;
        findings.report().log = Some(CheckedLog {
            entries: count,
            bytes,
            vote: vote.as_ref().map(ToString::to_string),
            first: first.as_ref().map(|id| id.index),
            last: last.as_ref().map(CheckedPosition::of::<C>),
            purged: purged.as_ref().map(CheckedPosition::of::<C>),
            committed: committed.as_ref().map(CheckedPosition::of::<C>),
        });
        vote_fits::<C>(findings, dir, vote.as_ref(), last.as_ref());
        Some(Self { segments, dir: dir.to_owned(), purged, committed, first, last })
    }

    /// Whether the state has what the log has no more, and nothing that contradicts it.
    pub(super) fn fits(&mut self, findings: &mut Findings<'_>, applied: Option<&LogIdOf<C>>) {
        let dir = self.dir.clone();
        let kept_index = applied.map(|id| id.index);
        if let Some(purged) = self.purged.clone().filter(|purged| kept_index < Some(purged.index)) {
            let kept =
                kept_index.map_or_else(|| "nothing".to_owned(), |index| format!("up to entry {index} only"));
            findings.damaged(&dir, format!("purged up to {purged}, but the state holds {kept}"));
        }
        // Without a purged id the log begins with the first entry there is: 0, or 1
        // where that is skipped.
        let first = self.first.as_ref().filter(|_| self.purged.is_none()).map_or(0, |first| first.index);
        if first > 1 && kept_index.is_none_or(|kept| kept.saturating_add(1) < first) {
            findings.damaged(&dir, format!("begins with entry {first}; what was before is nowhere"));
        }
        for (what, id) in [("committed id", self.committed.clone()), ("state", applied.cloned())] {
            if let Some(id) = id {
                self.has_no_other(findings, what, &id);
            }
        }
        let end = self.last.clone();
        if self.committed > end && self.committed.as_ref() > applied {
            let (committed, end) = (show(self.committed.as_ref()), show(end.as_ref()));
            findings.damaged(&dir, format!("the committed id says {committed}, but the log ends at {end}"));
        }
        if applied > end.as_ref() {
            let (applied, end) = (show(applied), show(end.as_ref()));
            let text = format!(
                "the state is at {applied}, ahead of the log, which ends at {end}: a power failure took the end of the \
                 log, which a majority has; the next start goes on from there"
            );
            findings.note(&dir, text);
        }
    }

    /// Where the log has an entry of this index, it is this one.
    fn has_no_other(&mut self, findings: &mut Findings<'_>, what: &str, id: &LogIdOf<C>) {
        let dir = self.dir.clone();
        let found = self.segments.get(id.index);
        let Some(Some(record)) = findings.opened(&dir, found) else { return };
        // One that does not decode has been reported.
        let entry: Option<C::Entry> = codec::decode(&record).ok();
        if let Some(entry) = entry.filter(|entry| entry.log_id() != *id) {
            let reason = format!("the {what} is at {id}, but the log has {} there", entry.log_id());
            findings.damaged(&dir, reason);
        }
    }
}

/// The segments that have been begun.
fn open(
    findings: &mut Findings<'_>,
    disk: &GuardedDisk,
    dir: &Path,
    manifest: &LogManifest,
    options: &Options,
) -> Option<Segments> {
    let factory: Arc<dyn EngineFactory> = Arc::new(LevelDb::new(disk.clone(), frugal(options.log_leveldb)));
    let open = |record: &SegmentRecord| Segment::open(&factory, disk, dir, *record).map(Arc::new);
    let all = manifest.segments.iter().map(open).collect::<Result<Vec<_>, _>>();
    let all = findings.opened(dir, all)?;
    Some(Segments::new(all.into_iter().filter(|segment| segment.is_begun()).collect()))
}

fn show<T: ToString>(id: Option<&T>) -> String {
    id.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

/// `None` if it does not decode, `Some(None)` if there is none.
fn record_at<T: DeserializeOwned>(
    findings: &mut Findings<'_>,
    dir: &Path,
    segment: &Segment,
    key: MetaKey,
) -> Option<Option<T>> {
    let record = segment.record_at(key);
    let Some(record) = findings.opened(dir, record)? else { return Some(None) };
    match codec::decode(&record) {
        Ok(value) => Some(Some(value)),
        Err(e) => {
            findings.damaged(dir, format!("the record of {}: {e}", key.name()));
            None
        }
    }
}

/// A vote is durable before any entry of its term is. The very first entry, the members, needs
/// none.
fn vote_fits<C: RaftTypeConfig>(
    findings: &mut Findings<'_>,
    dir: &Path,
    vote: Option<&VoteOf<C>>,
    last: Option<&LogIdOf<C>>,
) {
    let Some(last) = last.filter(|last| last.index > 0) else { return };
    match vote {
        None => findings.damaged(dir, format!("no vote, although the log goes to {last}")),
        Some(vote) if *vote.leader_id() >= *last.committed_leader_id() => {}
        Some(vote) => findings.damaged(dir, format!("the vote {vote} is older than the last entry, {last}")),
    }
}

/// The entries of the block before this one, of which it is known now how many count.
fn entries_before(
    findings: &mut Findings<'_>,
    dir: &Path,
    blocks: &mut BlockReader,
    key: &[u8],
    value: &Bytes,
) -> Vec<Record> {
    if let Some(first) = key::index_of(key) {
        return blocks.push(first, value).unwrap_or_else(|e| {
            findings.damaged(dir, format!("the block of log entry {first} {e}"));
            Vec::new()
        });
    }
    if !MetaKey::ALL.iter().any(|known| known.key() == key) {
        findings.damaged(dir, format!("a record with the unknown key {}", key.escape_ascii()));
    }
    Vec::new()
}

/// The entries seen so far.
struct Entries<C: RaftTypeConfig> {
    purged_end: u64,
    first: Option<LogIdOf<C>>,
    last: Option<LogIdOf<C>>,
    /// Where the next entry must be; `None` before the first of a log of which nothing is purged.
    next: Option<u64>,
    count: u64,
    bytes: u64,
}

impl<C: RaftTypeConfig> Entries<C> {
    fn after(purged: Option<LogIdOf<C>>) -> Self {
        let next = purged.as_ref().map(|id| id.index.saturating_add(1));
        Self { purged_end: next.unwrap_or(0), first: None, last: purged, next, count: 0, bytes: 0 }
    }

    /// What is in a segment in which the entries of `count` count.
    fn see_all(&mut self, findings: &mut Findings<'_>, dir: &Path, count: &Range<u64>, records: Vec<Record>) {
        for (index, record) in records {
            self.see(findings, dir, count, index, &record);
        }
    }

    fn see(
        &mut self,
        findings: &mut Findings<'_>,
        dir: &Path,
        count: &Range<u64>,
        index: u64,
        record: &Bytes,
    ) {
        // What is purged goes by whole segments, and what is truncated stays in older ones.
        if index < self.purged_end || !count.contains(&index) {
            return;
        }
        if let Some(next) = self.next.filter(|next| *next != index) {
            let last_missing = index.saturating_sub(1);
            findings.damaged(dir, format!("log entries {next} to {last_missing} are missing"));
        }
        self.next = Some(index.saturating_add(1));
        match codec::decode::<C::Entry>(record) {
            Ok(entry) => self.entry(findings, dir, index, record, &entry.log_id()),
            Err(e) => findings.damaged(dir, format!("log entry {index}: {e}")),
        }
    }

    fn entry(
        &mut self,
        findings: &mut Findings<'_>,
        dir: &Path,
        index: u64,
        record: &Bytes,
        log_id: &LogIdOf<C>,
    ) {
        if log_id.index != index {
            findings.damaged(dir, format!("log entry {index} says it is entry {}", log_id.index));
            return;
        }
        let term = |id: &LogIdOf<C>| id.committed_leader_id().clone();
        if let Some(last) = self.last.as_ref().filter(|last| term(last) > term(log_id)) {
            findings.damaged(dir, format!("log entry {log_id} comes after {last}: its term is older"));
        }
        self.count += 1;
        self.bytes += record.len() as u64;
        self.first.get_or_insert_with(|| log_id.clone());
        self.last = Some(log_id.clone());
    }
}

/// Calls `page` with some pairs at a time until there are no more.
fn each_page(
    mut scan: impl FnMut(&KeyRange, ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError>,
    mut page: impl FnMut(&[(Bytes, Bytes)]),
) -> Result<(), StorageError> {
    let mut range = KeyRange::all();
    loop {
        let pairs = scan(&range, PAGE)?;
        let Some((last, _)) = pairs.last() else { return Ok(()) };
        range.start = Bytes::from([last, &[0][..]].concat());
        page(&pairs);
    }
}
