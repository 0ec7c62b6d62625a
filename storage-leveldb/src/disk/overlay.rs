//! A disk whose changes stay in memory: what is written here is seen here, and the disk below stays
//! as it is.
//!
//! For the [`check`](crate::check) of a directory: LevelDB cannot be opened without writing.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, ReadFile, WriteFile};

/// Content that was written here. Its bytes count until it cannot be read any more.
struct Written {
    bytes: Mutex<Vec<u8>>,
    used_bytes: Arc<AtomicU64>,
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let len = self.lock().len() as u64;
        self.used_bytes.fetch_sub(len, Ordering::Relaxed);
    }
}

/// Where a name's content is.
#[derive(Clone)]
enum Content {
    Here(Arc<Written>),
    /// On the disk below, under this name.
    Below(PathBuf),
}

/// Names are kept as [`settled`] has them.
#[derive(Default)]
struct Names {
    files: BTreeMap<PathBuf, Content>,
    dirs: BTreeSet<PathBuf>,
    /// Files and directories of the disk below that count as removed, with all that is in them.
    gone: BTreeSet<PathBuf>,
}

impl Names {
    fn is_hidden(&self, settled: &Path) -> bool {
        settled.ancestors().any(|name| self.gone.contains(name))
    }
}

/// Cheap to clone; all clones share their changes.
///
/// Invariants: the disk below is only ever read; what was written here and can still be read takes
/// at most `limit_bytes`, and a write that would exceed it fails.
#[derive(Clone)]
pub(crate) struct OverlayDisk {
    below: Arc<dyn Disk>,
    names: Arc<Mutex<Names>>,
    used_bytes: Arc<AtomicU64>,
    limit_bytes: u64,
}

/// One name for one place, as far as it exists: LevelDB asks for some files by the path it was
/// given and for others by the path without symbolic links.
fn settled(path: &Path) -> PathBuf {
    for ancestor in path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl OverlayDisk {
    pub(crate) fn new(below: Arc<dyn Disk>, limit_bytes: u64) -> Self {
        Self { below, names: Arc::default(), used_bytes: Arc::default(), limit_bytes }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the name stands for; the disk below need not have it.
    fn content(&self, path: &Path) -> io::Result<Content> {
        let (names, place) = (self.names(), settled(path));
        match names.files.get(&place) {
            Some(content) => Ok(content.clone()),
            None if names.is_hidden(&place) => Err(not_found()),
            None => Ok(Content::Below(path.to_owned())),
        }
    }

    /// The same, and it is there.
    fn existing(&self, path: &Path) -> io::Result<Content> {
        let content = self.content(path)?;
        if let Content::Below(path) = &content {
            self.below.len(path)?;
        }
        Ok(content)
    }
}

impl Disk for OverlayDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let written = Written { bytes: Mutex::default(), used_bytes: self.used_bytes.clone() };
        let content = Arc::new(written);
        self.names().files.insert(settled(path), Content::Here(content.clone()));
        Ok(Box::new(OverlayFile { content, limit_bytes: self.limit_bytes }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        match self.content(path)? {
            Content::Here(content) => Ok(Box::new(OverlayFile { content, limit_bytes: self.limit_bytes })),
            Content::Below(path) => self.below.open(&path),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = self.existing(from)?;
        self.names().files.insert(settled(to), content);
        self.delete(from)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        self.existing(path)?;
        let (mut names, place) = (self.names(), settled(path));
        names.files.remove(&place);
        names.gone.insert(place);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let place = settled(path);
        self.names().dirs.extend(place.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        let (mut names, place) = (self.names(), settled(path));
        names.files.retain(|name, _| !name.starts_with(&place));
        names.dirs.retain(|name| !name.starts_with(&place));
        names.gone.insert(place);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let (names, place) = (self.names(), settled(path));
        let below = if names.is_hidden(&place) { Err(not_found()) } else { self.below.list(path) };
        let mut found: BTreeSet<PathBuf> = match below {
            Ok(below) => below.into_iter().filter(|name| !names.gone.contains(&place.join(name))).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound && names.dirs.contains(&place) => BTreeSet::new(),
            Err(e) => return Err(e),
        };
        let here = names.files.keys().chain(&names.dirs).filter(|name| name.parent() == Some(&place));
        found.extend(here.filter_map(|name| name.file_name()).map(PathBuf::from));
        Ok(found.into_iter().collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        match self.content(path)? {
            Content::Here(content) => Ok(content.lock().len() as u64),
            Content::Below(path) => self.below.len(&path),
        }
    }

    /// No other process can have these changes. A caller that needs the disk below to hold still
    /// locks that one.
    fn lock(&self, _: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }
}

struct OverlayFile {
    content: Arc<Written>,
    limit_bytes: u64,
}

impl WriteFile for OverlayFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let more = bytes.len() as u64;
        let used = self.content.used_bytes.fetch_add(more, Ordering::Relaxed) + more;
        if used > self.limit_bytes {
            self.content.used_bytes.fetch_sub(more, Ordering::Relaxed);
            let text = format!("more than the {} bytes of changes that are kept in memory", self.limit_bytes);
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        debug_assert!(used <= self.limit_bytes, "changes are bounded");
        self.content.lock().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadFile for OverlayFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let content = self.content.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let mut rest = content.get(start..).unwrap_or_default();
        io::Read::read(&mut rest, buf)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::disk::{RealDisk, read_all};

    fn text(disk: &dyn Disk, path: &Path) -> String {
        String::from_utf8(read_all(disk.open(path).unwrap().as_ref(), 1000).unwrap()).unwrap()
    }

    fn names(disk: &dyn Disk, path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            disk.list(path).unwrap().iter().map(|name| name.display().to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn changes_are_seen_above_and_not_below() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["kept", "moved", "deleted", "replaced"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("sub/inside"), "x").unwrap();

        let disk = OverlayDisk::new(Arc::new(RealDisk), 100);
        disk.rename(&at("moved"), &at("there")).unwrap();
        disk.delete(&at("deleted")).unwrap();
        disk.create(&at("replaced")).unwrap().write_all(b"new").unwrap();
        disk.delete_dir(&at("sub")).unwrap();
        disk.create_dir(&at("sub")).unwrap();
        disk.create(&at("sub/other")).unwrap().write_all(b"y").unwrap();

        assert_eq!(names(&disk, dir.path()), ["kept", "replaced", "sub", "there"]);
        assert_eq!(names(&disk, &at("sub")), ["other"]);
        assert_eq!(text(&disk, &at("there")), "moved");
        assert_eq!(text(&disk, &at("replaced")), "new");
        for gone in ["moved", "deleted", "sub/inside", "never"] {
            assert_eq!(disk.open(&at(gone)).err().unwrap().kind(), io::ErrorKind::NotFound, "{gone}");
            assert_eq!(disk.delete(&at(gone)).err().unwrap().kind(), io::ErrorKind::NotFound, "{gone}");
        }
        assert_eq!(names(&RealDisk, dir.path()), ["deleted", "kept", "moved", "replaced", "sub"]);
        assert_eq!(text(&RealDisk, &at("replaced")), "replaced");
    }

    /// LevelDB writes some files under the path it was given and reads them under the canonical
    /// one.
    #[test]
    fn a_file_is_the_same_under_a_symbolic_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::fs::write(real.join("old"), "old").unwrap();
        symlink(&real, &link).unwrap();
        let disk = OverlayDisk::new(Arc::new(RealDisk), 100);
        disk.create(&link.join("new")).unwrap().write_all(b"new").unwrap();
        assert_eq!(text(&disk, &real.join("new")), "new");
        disk.delete(&real.join("old")).unwrap();
        assert_eq!(names(&disk, &link), ["new"]);
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let disk = OverlayDisk::new(Arc::new(RealDisk), 100);
        let (a, b) = (Path::new("/none/a"), Path::new("/none/b"));
        disk.create(a).unwrap().write_all(&[0; 60]).unwrap();
        let mut file = disk.create(b).unwrap();
        assert_eq!(file.write_all(&[0; 60]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.delete(a).unwrap();
        file.write_all(&[0; 60]).unwrap();
    }
}
