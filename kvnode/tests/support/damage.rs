//! What can happen to one file of a stopped node, and how to undo it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Dice;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    FlipOneBit,
    CutOff,
    Remove,
    /// Replaced by its version in an one of [`OlderCopies`].
    Older,
}

impl Harm {
    pub const ALL: [Self; 4] = [Self::FlipOneBit, Self::CutOff, Self::Remove, Self::Older];
}

/// A data directory as it was before, several times.
#[derive(Debug)]
pub struct OlderCopies {
    data_dir: PathBuf,
    copies: PathBuf,
    count: usize,
}

impl OlderCopies {
    /// They will lie in `copies`.
    pub fn new(data_dir: &Path, copies: PathBuf) -> Self {
        if copies.exists() {
            fs::remove_dir_all(&copies).unwrap();
        }
        fs::create_dir(&copies).unwrap();
        Self { data_dir: data_dir.to_owned(), copies, count: 0 }
    }

    /// Copies what a node has at work, each file at a moment of its own; one that goes meanwhile
    /// has no older version.
    pub fn take(&mut self) {
        copy_dir(&self.data_dir, &self.copies.join(self.count.to_string())).unwrap();
        self.count += 1;
    }

    /// What a file was, if it has changed since.
    pub fn version_of(&self, path: &Path) -> Option<Vec<u8>> {
        let (name, now) = (path.strip_prefix(&self.data_dir).unwrap(), fs::read(path).unwrap());
        let copies = (0..self.count).map(|copy| self.copies.join(copy.to_string()).join(name));
        copies.filter_map(|copy| fs::read(copy).ok()).find(|older| *older != now)
    }
}

/// Each file at a moment of its own, without those that go meanwhile.
pub fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for found in fs::read_dir(from)? {
        let path = found?.path();
        let to = to.join(path.file_name().unwrap());
        let copied = if path.is_dir() { copy_dir(&path, &to) } else { fs::copy(&path, &to).map(drop) };
        match copied {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// How much of a file is content: zeros that a log has in advance are none of its records, whatever
/// becomes of them.
pub fn used_bytes(content: &[u8]) -> usize {
    content.iter().rposition(|byte| *byte != 0).map_or(content.len(), |last| last + 1)
}

/// A file that was harmed, and what it was before.
#[derive(Debug)]
pub struct Damage {
    pub path: PathBuf,
    harm: Harm,
    at: usize,
    before: Vec<u8>,
    after: Option<Vec<u8>>,
}

impl Damage {
    /// `older` is needed for [`Harm::Older`] only.
    pub fn inflict(path: &Path, harm: Harm, older: &OlderCopies, dice: &mut Dice) -> Self {
        let before = fs::read(path).unwrap();
        let at = dice.below(used_bytes(&before));
        let after = match harm {
            Harm::FlipOneBit => {
                let mut bytes = before.clone();
                bytes[at] ^= 1 << dice.below(8);
                Some(bytes)
            }
            Harm::CutOff => Some(before[..at].to_vec()),
            Harm::Remove => None,
            Harm::Older => Some(older.version_of(path).expect("it has changed")),
        };
        match &after {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::rename(path, aside(path)).unwrap(),
        }
        Self { path: path.to_owned(), harm, at, before, after }
    }

    pub fn file_name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap()
    }

    /// Puts the file back if it still is as the damage left it.
    pub fn undo(self) {
        if fs::read(&self.path).ok() != self.after {
            return;
        }
        match self.after {
            Some(_) => fs::write(&self.path, &self.before).unwrap(),
            // The file itself: a new one with its content would be a copy.
            None => fs::rename(aside(&self.path), &self.path).unwrap(),
        }
    }
}

/// Where a removed file lies: outside of the data directory, in the same file system.
fn aside(path: &Path) -> PathBuf {
    let place = std::env::temp_dir().join(format!("kvnode-test-removed-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    place.join(path.display().to_string().replace('/', "_"))
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (harm, at, bytes) = (self.harm, self.at, self.before.len());
        write!(f, "{harm:?} at {at} of {bytes} bytes in {}", self.path.display())
    }
}

/// The files of a data directory that match a pattern.
pub fn files(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for part in pattern.split('/') {
        let inside = found.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
        let (start, end) = part.split_once('*').unwrap_or((part, ""));
        let matches = |name: &str| match part.contains('*') {
            true => name.starts_with(start) && name.ends_with(end),
            false => name == part,
        };
        let paths = inside.map(|entry| entry.unwrap().path());
        found = paths.filter(|path| matches(path.file_name().unwrap().to_str().unwrap())).collect();
    }
    found.sort();
    found
}
