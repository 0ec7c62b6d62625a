//! What can happen to one file of a stopped node, and how to undo it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::Dice;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    FlipOneBit,
    CutOff,
    Remove,
}

impl Harm {
    pub const ALL: [Self; 3] = [Self::FlipOneBit, Self::CutOff, Self::Remove];
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
    pub fn inflict(path: &Path, harm: Harm, dice: &mut Dice) -> Self {
        let before = fs::read(path).unwrap();
        let at = dice.below(before.len());
        let after = match harm {
            Harm::FlipOneBit => {
                let mut bytes = before.clone();
                bytes[at] ^= 1 << dice.below(8);
                Some(bytes)
            }
            Harm::CutOff => Some(before[..at].to_vec()),
            Harm::Remove => None,
        };
        match &after {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        Self { path: path.to_owned(), harm, at, before, after }
    }

    pub fn file_name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap()
    }

    /// Puts the file back if it still is as the damage left it.
    pub fn undo(self) {
        if fs::read(&self.path).ok() == self.after {
            fs::write(&self.path, &self.before).unwrap();
        }
    }
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
