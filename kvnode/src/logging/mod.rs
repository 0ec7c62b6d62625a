//! Log lines: who sees what, and in which shape. Everything goes to standard error.
//!
//! The way of an event: `layer` collects it into a [`record`], `text` or `json` makes a line of that, `layer`
//! writes the line in one piece. `ecs` says how a field of ours is called in the Elastic Common Schema; `throttle`
//! keeps what clients can cause from filling a disk; `panic` turns panics into lines.

mod ecs;
mod json;
mod layer;
mod options;
mod panic;
mod record;
#[cfg(test)]
mod tests;
mod text;
mod throttle;

pub use layer::Source;
#[cfg(test)]
pub(crate) use options::DEFAULT_FILTER;
pub use options::{LogFormat, LogOptions};
pub(crate) use throttle::Throttle;
