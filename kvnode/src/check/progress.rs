//! One line on a terminal that says how far the check is.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use storage_leveldb::check::Progress;

/// Between two changes of the line.
const INTERVAL: Duration = Duration::from_millis(200);
const START_OF_EMPTY_LINE: &str = "\r\x1b[K";

/// Nothing is printed before the first interval is over, nor if standard error is no terminal.
pub(super) struct ProgressLine {
    is_terminal: bool,
    last: Instant,
    is_shown: bool,
}

impl Default for ProgressLine {
    fn default() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), last: Instant::now(), is_shown: false }
    }
}

impl ProgressLine {
    pub(super) fn show(&mut self, progress: Progress) {
        if !self.is_terminal || self.last.elapsed() < INTERVAL {
            return;
        }
        (self.last, self.is_shown) = (Instant::now(), true);
        self.print(&text(progress));
    }

    /// Makes room for what is printed next.
    pub(super) fn clear(&mut self) {
        if self.is_shown {
            self.print("");
        }
    }

    /// A line that cannot be printed is not worth failing for.
    fn print(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        drop(write!(stderr, "{START_OF_EMPTY_LINE}{text}").and_then(|()| stderr.flush()));
    }
}

fn text(progress: Progress) -> String {
    const MIB: u64 = 1024 * 1024;
    match progress {
        Progress::Files { files, of_files, bytes, of_bytes } => {
            let (read, all) = (bytes / MIB, of_bytes.div_ceil(MIB));
            format!("reading files: {files} of {of_files}, {read} of {all} MiB")
        }
        Progress::Entries(entries) => format!("reading the log: {entries} entries"),
        Progress::Pairs(pairs) => format!("reading the state: {pairs} pairs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_far_it_is() {
        let files = Progress::Files { files: 3, of_files: 9, bytes: 5 << 20, of_bytes: (7 << 20) + 1 };
        assert_eq!(text(files), "reading files: 3 of 9, 5 of 8 MiB");
        assert_eq!(text(Progress::Entries(17)), "reading the log: 17 entries");
    }
}
