//! What is seen on stderr while a stage runs.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::end::End;
use super::tally::Counters;
use crate::units::thousands;

const TERMINAL_PERIOD: Duration = Duration::from_millis(250);
/// A log has a line for each.
const LOG_PERIOD: Duration = Duration::from_secs(1);
/// To the start of the line, and erase it.
const ERASE: &str = "\r\x1b[2K";

/// One line that is rewritten on a terminal, and repeated where stderr is not one.
#[derive(Debug)]
pub(super) struct Progress {
    title: String,
    end: End,
    terminal: bool,
    last: (u64, Duration),
}

impl Progress {
    pub(super) fn new(label: &str, clients: u64, end: End) -> Self {
        let noun = if clients == 1 { "client" } else { "clients" };
        let title = format!("{label}, {clients} {noun}");
        Self { title, end, terminal: io::stderr().is_terminal(), last: (0, Duration::ZERO) }
    }

    pub(super) fn period(&self) -> Duration {
        if self.terminal { TERMINAL_PERIOD } else { LOG_PERIOD }
    }

    pub(super) fn show(&mut self, counters: &Counters, elapsed: Duration) {
        let line = self.line(counters, elapsed);
        // Progress that cannot be shown is no error.
        let _ = match self.terminal {
            true => write!(io::stderr(), "{ERASE}{line}").and_then(|()| io::stderr().flush()),
            false => writeln!(io::stderr(), "{line}"),
        };
    }

    fn line(&mut self, counters: &Counters, elapsed: Duration) -> String {
        let done = counters.done.load(Ordering::Relaxed);
        let errors = counters.errors.load(Ordering::Relaxed);
        let (done_before, elapsed_before) = self.last;
        self.last = (done, elapsed);
        let seconds = elapsed.saturating_sub(elapsed_before).as_secs_f64().max(0.001);
        let rate = (done.saturating_sub(done_before) as f64 / seconds) as u64;
        let so_far = match self.end {
            End::After(all) => format!("{} of {} s", elapsed.as_secs(), all.as_secs()),
            End::Operations(all) => format!("{} of {}", thousands(done), thousands(all)),
        };
        let errors = match errors {
            0 => String::new(),
            count => format!(", {} errors", thousands(count)),
        };
        format!("{}: {so_far}, {} ops/s{errors}", self.title, thousands(rate))
    }

    pub(super) fn clear(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "{ERASE}").and_then(|()| io::stderr().flush());
        }
    }
}
