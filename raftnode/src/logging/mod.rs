//! Log lines: who sees what, and in which shape. Everything goes to standard error.
//!
//! The way of an event: `filter` lets it through, `layer` collects it into a `record`, `text` or
//! `json` makes a line of that, `queue` holds the line, and the thread of `writer` writes it. So a
//! reader that stops reading costs lines and nothing else. `ecs` says how a field of ours is called
//! in the Elastic Common Schema; `panic` turns panics into lines.
//!
//! A program that logs by `tracing` in another way needs none of this.

mod ecs;
mod filter;
mod json;
mod layer;
mod options;
mod panic;
mod queue;
mod record;
#[cfg(test)]
mod tests;
mod text;
mod writer;

pub use filter::LogFilter;
pub use options::{DEFAULT_FILTER, LogFormat, LogOptions};
pub use queue::{FLUSH_TIMEOUT, MAX_QUEUED_BYTES, MAX_QUEUED_LINES};
pub use record::Source;
pub use writer::{FlushAtEnd, collectors, flush, say};
