//! What is seen on stderr of a terminal while a backup comes.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::units;

const PERIOD: Duration = Duration::from_millis(250);
/// To the start of the line, and erase it.
const ERASE: &str = "\r\x1b[2K";

/// One line that is rewritten, or none where stderr is no terminal.
pub(super) struct Progress {
    expected: u64,
    done: u64,
    started: Instant,
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    /// About so many bytes of state are to come; 0: that is not known.
    pub(super) fn new(expected: u64) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { expected, done: 0, started: Instant::now(), shown: None, is_terminal }
    }

    /// So many have come.
    pub(super) fn show(&mut self, done: u64) {
        self.done = done;
        let is_due = self.shown.is_none_or(|shown| shown.elapsed() >= PERIOD);
        if self.is_terminal && is_due {
            self.shown = Some(Instant::now());
            // Progress that cannot be shown is no error.
            let _ = write!(io::stderr(), "{ERASE}{}", line(self.done, self.expected, self.started.elapsed()))
                .and_then(|()| io::stderr().flush());
        }
    }

    /// Takes the line away; answers how long it took.
    pub(super) fn end(self) -> Duration {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "{ERASE}").and_then(|()| io::stderr().flush());
        }
        self.started.elapsed()
    }
}

fn line(done: u64, expected: u64, elapsed: Duration) -> String {
    let rate = rate(done, elapsed);
    let so_far = format!("saving: {}", units::bytes(done));
    // The estimate may be too low.
    match expected.checked_sub(done).filter(|_| rate > 0) {
        Some(left) => {
            format!(
                "{so_far} of about {}, {}/s, about {} s left",
                units::bytes(expected),
                units::bytes(rate),
                left.div_ceil(rate)
            )
        }
        None => format!("{so_far}, {}/s", units::bytes(rate)),
    }
}

/// Bytes in a second.
pub(super) fn rate(bytes: u64, elapsed: Duration) -> u64 {
    (bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_long_it_will_take() {
        let mib = 1024 * 1024;
        let shown = line(10 * mib, 30 * mib, Duration::from_secs(2));
        assert_eq!(shown, "saving: 10.0 MiB of about 30.0 MiB, 5.0 MiB/s, about 4 s left");
        assert_eq!(line(40 * mib, 30 * mib, Duration::from_secs(2)), "saving: 40.0 MiB, 20.0 MiB/s");
        assert_eq!(line(0, 30 * mib, Duration::ZERO), "saving: 0 B, 0 B/s");
    }
}
