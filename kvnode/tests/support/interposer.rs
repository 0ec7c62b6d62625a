//! A library that stands between one node and the C library: its disk hangs or is slow, or its
//! clock is wrong.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::Serve;

const SOURCE: &str = include_str!("interposer.c");

/// Its switches for the nodes of one cluster.
#[derive(Debug)]
pub struct Interposer {
    dir: PathBuf,
}

/// The library, built once by this process, with the system's C compiler, which Rust needs for
/// linking, too.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interposer");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("interposer.c"), SOURCE).unwrap();
        let mut cc = Command::new("cc");
        cc.current_dir(&dir).args(["-shared", "-fPIC", "-o", "new.so", "interposer.c", "-ldl"]);
        assert!(cc.status().unwrap().success(), "cannot build the interposer");
        // Nodes that an earlier run has left keep the one that they have loaded.
        fs::rename(dir.join("new.so"), dir.join("interposer.so")).unwrap();
        dir.join("interposer.so")
    })
}

impl Interposer {
    pub fn for_cluster_in(dir: &Path) -> Self {
        let dir = dir.join("interposer");
        fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    /// From its next start on the node's syncs can be made to hang.
    pub fn between_disk_and(&self, serve: &mut Serve) {
        self.preload(serve);
        serve.env.push(("INTERPOSER_DISK_HANGS".into(), self.switch(serve.id).into()));
        serve.env.push(("INTERPOSER_DIRECTORIES_HANG".into(), self.directories(serve.id).into()));
    }

    /// From its next start on each sync of the node takes this much longer.
    pub fn slow_disk_of(&self, serve: &mut Serve, sync_takes: Duration) {
        self.preload(serve);
        let millis = sync_takes.as_millis().to_string();
        serve.env.push(("INTERPOSER_SYNC_TAKES_MS".into(), millis.into()));
    }

    /// From its next start on the node's clock is before 1970.
    pub fn set_clock_of(&self, serve: &mut Serve) {
        self.preload(serve);
        serve.env.push(("INTERPOSER_BEFORE_1970".into(), "1".into()));
    }

    fn preload(&self, serve: &mut Serve) {
        serve.env.push(("LD_PRELOAD".into(), library().into()));
    }

    /// No sync of the node returns any more.
    pub fn hang(&self, id: u64) {
        File::create(self.switch(id)).unwrap();
    }

    /// No sync of a directory returns any more: what a file is called from now on is there to be
    /// read, and the node does not know that it is.
    pub fn hang_directories(&self, id: u64) {
        File::create(self.directories(id)).unwrap();
    }

    /// They return.
    pub fn answer(&self, id: u64) {
        for switch in [self.switch(id), self.directories(id)] {
            match fs::remove_file(switch) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => panic!("{e}"),
                _ => {}
            }
        }
    }

    fn switch(&self, id: u64) -> PathBuf {
        self.dir.join(format!("disk-{id}-hangs"))
    }

    fn directories(&self, id: u64) -> PathBuf {
        self.dir.join(format!("directories-{id}-hang"))
    }
}
