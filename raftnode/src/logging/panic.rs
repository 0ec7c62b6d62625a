//! A panic is a line like any other, so that it is found where lines are searched.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use super::writer;

/// From now on panics go to the log. Where errors are filtered out, the panic is said as Rust does.
///
/// Each waits a little for its line to be written: it may be the end of the process.
pub(super) fn install() {
    std::panic::set_hook(Box::new(|panic| {
        if tracing::enabled!(tracing::Level::ERROR) {
            report(panic);
        } else {
            let thread = std::thread::current();
            writer::say(&format!("thread '{}' {panic}", thread.name().unwrap_or("unnamed")));
        }
        writer::flush();
    }));
}

fn report(panic: &PanicHookInfo<'_>) {
    let what = panic.payload_as_str().unwrap_or("a value that is no text");
    let thread = std::thread::current();
    let (file, line) = panic.location().map_or(("?", 0), |at| (at.file(), at.line()));
    // Empty unless RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let stack = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        event.action = "panic",
        event.outcome = "failure",
        error.type = "panic",
        error.message = what,
        error.stack_trace = stack,
        log.origin.file.name = file,
        log.origin.file.line = line,
        process.thread.name = thread.name().unwrap_or("unnamed"),
        "a thread panicked: this is a mistake in the program, please report it"
    );
}
