//! What the operating system says of this process and of files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A field of `/proc/self/io`.
fn io(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(name, _)| *name == field).and_then(|(_, value)| value.parse().ok()).unwrap()
}

/// Bytes that this process has made dirty in files on a disk, and those of them that a deletion
/// made unnecessary to write.
pub(crate) fn disk_writes() -> (u64, u64) {
    (io("write_bytes"), io("cancelled_write_bytes"))
}

/// A field of `/proc/self/status` in bytes.
fn status(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let value = lines.find(|(name, _)| *name == field).map(|(_, value)| value.trim().to_owned());
    value.and_then(|value| value.strip_suffix(" kB")?.parse::<u64>().ok()).unwrap() * 1024
}

/// Resident memory.
pub(crate) fn rss() -> u64 {
    status("VmRSS")
}

/// The greatest resident memory since [`reset_peak`].
pub(crate) fn peak_rss() -> u64 {
    status("VmHWM")
}

pub(crate) fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Says so if the directory is in memory, where syncs cost nothing and nothing is written to a
/// disk.
pub(crate) fn warn_if_in_memory(dir: &Path) {
    const TMPFS: u64 = 0x0102_1994;
    if rustix::fs::statfs(dir).unwrap().f_type as u64 == TMPFS {
        println!("WARNING: {} is in memory (tmpfs): choose a directory on a disk with --dir", dir.display());
    }
}

/// Every file below `dir`.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        // A directory may go away meanwhile.
        for found in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = found.path();
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Makes the page cache forget every file below `dir`; dirty pages are written first, as only clean
/// ones are forgotten.
pub(crate) fn drop_page_cache(dir: &Path) {
    for file in files_below(dir).iter().filter_map(|path| File::open(path).ok()) {
        file.sync_data().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

/// Brings every file below `dir` into the page cache.
pub(crate) fn fill_page_cache(dir: &Path) {
    for mut file in files_below(dir).iter().filter_map(|path| File::open(path).ok()) {
        std::io::copy(&mut file, &mut std::io::sink()).unwrap();
    }
}

/// Processor time that the host of this virtual machine has taken away since it started, all
/// processors together.
pub(crate) fn stolen() -> Duration {
    const FIELD: usize = 8;
    /// As on every Linux.
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = fs::read_to_string("/proc/stat").unwrap();
    let ticks = text.lines().next().and_then(|line| line.split_whitespace().nth(FIELD));
    Duration::from_secs_f64(ticks.unwrap().parse::<f64>().unwrap() / TICKS_PER_SECOND)
}

/// CPU time of all threads so far.
pub(crate) fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}
