//! Directories and names: as the running system sees them, and as they are on the platters.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::survival::Chance;

pub(super) type FileId = usize;
type DirId = u32;

const ROOT: DirId = 0;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(FileId),
    Dir(DirId),
}

type Name = Arc<OsStr>;
type Names = BTreeMap<(DirId, Name), Node>;

/// One change of names in one directory. It happens whole or not at all.
#[derive(Debug, Clone)]
struct Change {
    dir: DirId,
    remove: Option<Name>,
    set: Option<(Name, Node)>,
}

impl Change {
    fn apply(&self, names: &mut Names) {
        if let Some(name) = &self.remove {
            names.remove(&(self.dir, name.clone()));
        }
        if let Some((name, node)) = &self.set {
            names.insert((self.dir, name.clone()), *node);
        }
    }
}

/// Invariants: `live` is `durable` with all of `pending` applied in order, where directories have
/// not been removed; directories have ids that are never used again, so a directory that comes back
/// under its name is another one.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    live: Arc<Names>,
    durable: Arc<Names>,
    pending: Vec<Change>,
    last_dir: DirId,
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn name_of(path: &Path) -> io::Result<Name> {
    path.file_name().map(Arc::from).ok_or_else(not_found)
}

/// The names that a path is made of.
fn names_in(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

impl Tree {
    fn node(&self, dir: DirId, name: &OsStr) -> Option<Node> {
        self.live.get(&(dir, Arc::from(name))).copied()
    }

    fn dir(&self, path: &Path) -> io::Result<DirId> {
        names_in(path).try_fold(ROOT, |dir, name| match self.node(dir, name) {
            Some(Node::Dir(inner)) => Ok(inner),
            _ => Err(not_found()),
        })
    }

    fn parent(&self, path: &Path) -> io::Result<DirId> {
        self.dir(path.parent().ok_or_else(not_found)?)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<FileId> {
        let (dir, name) = (self.parent(path)?, name_of(path)?);
        match self.live.get(&(dir, name)) {
            Some(Node::File(file)) => Ok(*file),
            _ => Err(not_found()),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(Arc::make_mut(&mut self.live));
        self.pending.push(change);
    }

    /// Gives a file a name, in place of what had it.
    pub(super) fn set(&mut self, path: &Path, file: FileId) -> io::Result<()> {
        let set = Some((name_of(path)?, Node::File(file)));
        let dir = self.parent(path)?;
        self.change(Change { dir, remove: None, set });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (dir, file) = (self.parent(to)?, self.file(from)?);
        if self.parent(from)? != dir {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a rename from directory to directory"));
        }
        let (remove, set) = (Some(name_of(from)?), Some((name_of(to)?, Node::File(file))));
        self.change(Change { dir, remove, set });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        let (dir, remove) = (self.parent(path)?, Some(name_of(path)?));
        self.change(Change { dir, remove, set: None });
        Ok(())
    }

    /// Creates a directory and those above it; a top-level one stands for a mount point and is
    /// always there.
    pub(super) fn create_dirs(&mut self, path: &Path) -> io::Result<()> {
        let mut dir = ROOT;
        for name in names_in(path) {
            dir = match self.node(dir, name) {
                Some(Node::Dir(inner)) => inner,
                Some(Node::File(_)) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
                None => {
                    self.last_dir += 1;
                    let set = Some((Arc::from(name), Node::Dir(self.last_dir)));
                    self.change(Change { dir, remove: None, set });
                    if dir == ROOT {
                        self.sync_id(ROOT);
                    }
                    self.last_dir
                }
            };
        }
        Ok(())
    }

    pub(super) fn has_dir(&self, path: &Path) -> bool {
        self.dir(path).is_ok()
    }

    /// Removes a directory with all in it, name by name, so that a power failure may leave any
    /// part.
    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let (parent, id, name) = (self.parent(path)?, self.dir(path)?, name_of(path)?);
        self.remove_inside(id);
        self.change(Change { dir: parent, remove: Some(name), set: None });
        Ok(())
    }

    fn remove_inside(&mut self, dir: DirId) {
        for (name, node) in self.inside(dir) {
            if let Node::Dir(inner) = node {
                self.remove_inside(inner);
            }
            self.change(Change { dir, remove: Some(name), set: None });
        }
    }

    fn inside(&self, dir: DirId) -> Vec<(Name, Node)> {
        let start: Name = Arc::from(OsStr::new(""));
        let from = self.live.range((dir, start)..).take_while(|((of, _), _)| *of == dir);
        from.map(|((_, name), node)| (name.clone(), *node)).collect()
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.inside(self.dir(path)?).into_iter().map(|(name, _)| PathBuf::from(&*name)).collect())
    }

    /// Makes the changes of a directory's names durable.
    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.dir(path)?;
        self.sync_id(dir);
        Ok(())
    }

    fn sync_id(&mut self, dir: DirId) {
        let (done, rest): (Vec<Change>, _) =
            std::mem::take(&mut self.pending).into_iter().partition(|change| change.dir == dir);
        self.pending = rest;
        if !done.is_empty() {
            let durable = Arc::make_mut(&mut self.durable);
            done.iter().for_each(|change| change.apply(durable));
        }
    }

    /// The tree after a power failure.
    pub(super) fn survivor(&self, chance: &mut Chance) -> Self {
        let mut names = self.durable.clone();
        for change in &self.pending {
            if chance.survives() {
                change.apply(Arc::make_mut(&mut names));
            }
        }
        let mut reachable = HashSet::from([ROOT]);
        // A directory's id is greater than that of the one it is in, so one pass in order finds
        // all.
        for ((dir, _), node) in names.iter() {
            if let Node::Dir(inner) = node
                && reachable.contains(dir)
            {
                reachable.insert(*inner);
            }
        }
        if names.keys().any(|(dir, _)| !reachable.contains(dir)) {
            Arc::make_mut(&mut names).retain(|(dir, _), _| reachable.contains(dir));
        }
        Self { live: names.clone(), durable: names, pending: Vec::new(), last_dir: self.last_dir }
    }

    /// Every file with its path.
    pub(super) fn files(&self) -> Vec<(PathBuf, FileId)> {
        let mut paths = BTreeMap::from([(ROOT, PathBuf::new())]);
        let mut files = Vec::new();
        for ((dir, name), node) in self.live.iter() {
            let Some(parent) = paths.get(dir) else { continue };
            let path = parent.join(&**name);
            match node {
                Node::Dir(inner) => drop(paths.insert(*inner, path)),
                Node::File(file) => files.push((path, *file)),
            }
        }
        files
    }

    /// Every file that has a name, now or after a power failure.
    pub(super) fn named_files(&self) -> HashSet<FileId> {
        let names = self.live.values().chain(self.durable.values()).copied();
        let pending = self.pending.iter().filter_map(|change| change.set.as_ref().map(|(_, node)| *node));
        let file = |node| match node {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        };
        names.chain(pending).filter_map(file).collect()
    }
}
