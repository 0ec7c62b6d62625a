//! Damage by hand: what rots, is lost, or is put back by a backup.

use std::path::{Path, PathBuf};

use super::SimDisk;

impl SimDisk {
    /// Every file, with its length.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.state();
        let files = state.tree.files().into_iter();
        files.map(|(path, id)| (path, state.file(id).map_or(0, |file| file.len()))).collect()
    }

    /// A file's content, as a running system sees it; `None` if there is no such file.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.tree.file(path).ok()?;
        state.file(file).ok().map(|file| file.content().to_vec())
    }

    /// Changes one bit of a file as it lies there; answers whether there is such a byte.
    pub fn flip_bit(&self, path: &Path, offset: usize, bit: u8) -> bool {
        let flip =
            |content: &mut Vec<u8>| content.get_mut(offset).map(|byte| *byte ^= 1 << (bit % 8)).is_some();
        self.damage(path, flip).unwrap_or(false)
    }

    /// Cuts a file off; answers whether it was longer.
    pub fn truncate(&self, path: &Path, len: usize) -> bool {
        let cut = |content: &mut Vec<u8>| {
            let is_longer = content.len() > len;
            content.truncate(len);
            is_longer
        };
        self.damage(path, cut).unwrap_or(false)
    }

    /// Removes a file as if it had never been there; answers whether it was.
    pub fn remove(&self, path: &Path) -> bool {
        self.state().tree.remove(path).is_ok()
    }

    /// Gives a file the content that it has on another disk, as an earlier [`copy`](Self::copy) of this one;
    /// answers whether it was there and another.
    pub fn replace(&self, path: &Path, other: &Self) -> bool {
        let Some(older) = other.read(path) else { return false };
        let put = |content: &mut Vec<u8>| {
            let differs = *content != older;
            *content = older;
            differs
        };
        self.damage(path, put).unwrap_or(false)
    }

    /// Puts a file back as it is on another disk, of which this one is a copy, whether it is still
    /// here or not; answers whether its directory is here. It is the file itself, not a copy of it.
    pub fn put_back(&self, path: &Path, other: &Self) -> bool {
        let Some(content) = other.read(path) else { return false };
        let Ok(file) = other.state().tree.file(path) else { return false };
        {
            let mut state = self.state();
            if state.file(file).is_err()
                || state.tree.file(path).is_err() && state.tree.set(path, file).is_err()
            {
                return false;
            }
        }
        self.damage(path, |now| *now = content).is_some()
    }

    fn damage<T>(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>) -> T) -> Option<T> {
        let mut state = self.state();
        let file = state.tree.file(path).ok()?;
        let mut answer = None;
        state.file_mut(file).ok()?.damage(|content| answer = Some(change(content)));
        answer
    }
}
