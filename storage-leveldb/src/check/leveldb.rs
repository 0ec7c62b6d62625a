//! Which files of one LevelDB directory count, as its CURRENT and MANIFEST tell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::{PlannedFile, What};
use super::findings::Findings;
use crate::engine::LiveFiles;
use crate::file::framed_reader::{Tail, read_stream};
use crate::file::witness::{self, Claim};

/// What LevelDB keeps in a file of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Current,
    Witness,
    Manifest,
    Log(u64),
    Table(u64),
    /// The next content of another file; a crash may leave it.
    Temporary,
    Unknown,
}

fn kind(name: &Path) -> Kind {
    let number = |text: &str| text.parse::<u64>().ok();
    let Some(name) = name.to_str() else { return Kind::Unknown };
    match name {
        "CURRENT" => return Kind::Current,
        "WITNESS" => return Kind::Witness,
        _ => {}
    }
    if name.strip_prefix("MANIFEST-").and_then(number).is_some() {
        return Kind::Manifest;
    }
    match name.split_once('.') {
        Some((stem, "log")) => number(stem).map_or(Kind::Unknown, Kind::Log),
        Some((stem, "ldb")) => number(stem).map_or(Kind::Unknown, Kind::Table),
        Some((stem, "dbtmp")) if number(stem).is_some() => Kind::Temporary,
        Some(("CURRENT" | "WITNESS", "tmp")) => Kind::Temporary,
        _ => Kind::Unknown,
    }
}

/// What belongs to a LevelDB of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Table files, and logs with what is in none yet.
    Database,
    /// Table files only: a table is complete before it counts.
    Table,
}

/// Plans to read all that counts; CURRENT and MANIFEST are read here.
pub(super) fn plan(findings: &mut Findings<'_>, dir: &Path, of: Of, files: &mut Vec<PlannedFile>) {
    let names = findings.names(dir);
    let (mut logs, mut tables) = (BTreeMap::new(), BTreeMap::new());
    let mut left_over = Vec::new();
    let claims = claims(findings, dir, &names);
    let manifest = root(findings, dir, &names);
    for name in &names {
        match kind(name) {
            Kind::Current | Kind::Witness => {}
            Kind::Manifest if manifest.as_ref() == Some(name) => {}
            Kind::Manifest | Kind::Temporary => left_over.push(name),
            Kind::Log(number) => drop(logs.insert(number, name)),
            Kind::Table(number) => drop(tables.insert(number, name)),
            Kind::Unknown => findings.unknown(&dir.join(name)),
        }
    }
    let live = manifest.and_then(|manifest| {
        let tail = tail(&claims, &manifest);
        live_files(findings, &dir.join(manifest), tail)
    });
    if let Some(live) = &live {
        missing(findings, dir, live, &tables);
        if of == Of::Database {
            missing_log(findings, dir, live, &logs);
        }
    }
    // Without a MANIFEST everything may count.
    let has_log = |number| live.as_ref().is_none_or(|live| live.has_log(number));
    let has_table = |number| live.as_ref().is_none_or(|live| live.tables.contains_key(&number));
    for (number, name) in logs {
        match has_log(number) {
            true => files.push(PlannedFile::new(findings, dir.join(name), What::Log(tail(&claims, name)))),
            false => left_over.push(name),
        }
    }
    for (number, name) in tables {
        match has_table(number) {
            true => files.push(PlannedFile::new(findings, dir.join(name), What::Table)),
            false => left_over.push(name),
        }
    }
    if let Some(first) = left_over.first() {
        let text = format!(
            "{} files that do not count any more, {} for one; the next start removes them",
            left_over.len(),
            first.display()
        );
        findings.note(dir, text);
    }
}

/// The MANIFEST that CURRENT names.
fn root(findings: &mut Findings<'_>, dir: &Path, names: &[PathBuf]) -> Option<PathBuf> {
    let path = dir.join("CURRENT");
    let read = read_stream(&findings.guarded(), &path, Tail::Complete);
    let Some(content) = findings.sound(read)? else {
        // LevelDB starts an empty database where there is no CURRENT.
        let data = names.iter().find(|name| matches!(kind(name), Kind::Log(_) | Kind::Table(_)));
        if let Some(data) = data {
            findings.damaged(&path, format!("missing, although {} is there", data.display()));
        }
        return None;
    };
    findings.file_read(findings.disk().len(&path).unwrap_or(0));
    let name = std::str::from_utf8(&content).ok().and_then(|text| text.strip_suffix('\n')).map(PathBuf::from);
    match name.filter(|name| kind(name) == Kind::Manifest) {
        Some(name) if names.contains(&name) => Some(name),
        Some(name) => {
            findings.damaged(&dir.join(name), "missing, although CURRENT names it");
            None
        }
        None => {
            findings.damaged(&path, "does not name a MANIFEST");
            None
        }
    }
}

/// What must be right at the end of a log or MANIFEST.
fn tail(claims: &BTreeMap<String, Claim>, name: &Path) -> Tail {
    let claim = name.to_str().and_then(|name| claims.get(name));
    claim.map_or(Tail::MayBeTorn, |claim| Tail::Witnessed(*claim))
}

/// What WITNESS tells of the others.
fn claims(findings: &mut Findings<'_>, dir: &Path, names: &[PathBuf]) -> BTreeMap<String, Claim> {
    let path = dir.join("WITNESS");
    let read = witness::read(&findings.guarded(), dir);
    let Some(claims) = findings.sound(read).flatten() else {
        return BTreeMap::new();
    };
    findings.file_read(findings.disk().len(&path).unwrap_or(0));
    for (name, claim) in &claims {
        if !names.contains(&PathBuf::from(name)) {
            let durable = claim.durable;
            let reason =
                format!("missing, although WITNESS tells that {durable} bytes of it had been synced");
            findings.damaged(&dir.join(name), reason);
        }
    }
    claims
}

fn live_files(findings: &mut Findings<'_>, path: &Path, tail: Tail) -> Option<LiveFiles> {
    let read = read_stream(&findings.guarded(), path, tail);
    let stream = findings.sound(read)??;
    match LiveFiles::read(&stream) {
        Ok(live) => {
            findings.file_read(findings.disk().len(path).unwrap_or(0));
            Some(live)
        }
        Err(reason) => {
            findings.damaged(path, reason);
            None
        }
    }
}

fn missing(findings: &mut Findings<'_>, dir: &Path, live: &LiveFiles, tables: &BTreeMap<u64, &PathBuf>) {
    for number in live.tables.keys().filter(|number| !tables.contains_key(number)) {
        findings.damaged(&dir.join(format!("{number:06}.ldb")), "missing, although MANIFEST names it");
    }
}

fn missing_log(findings: &mut Findings<'_>, dir: &Path, live: &LiveFiles, logs: &BTreeMap<u64, &PathBuf>) {
    // The log was there before the MANIFEST that names it; a new database has none yet.
    if live.log_number != 0 && !logs.contains_key(&live.log_number) {
        findings
            .damaged(&dir.join(format!("{:06}.log", live.log_number)), "missing, although MANIFEST names it");
    }
}
