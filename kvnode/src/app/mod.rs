//! The replicated application: what a command does to the pairs, and what a query sees of them.
//!
//! Called in log order, with the same commands on every node, so everything here depends on nothing
//! but its arguments.

mod application;
mod command;
#[cfg(test)]
mod harness;
mod keys;
mod pair;
mod query;
mod response;
mod stored;
#[cfg(test)]
mod tests;

pub use application::KvApplication;
pub use command::Command;
pub use pair::PairRecord;
pub use query::{Answer, Found, Query, ScanQuery};
pub use response::Response;
pub(crate) use stored::StoredPairs;

/// What the application calls itself: in its series, in backups, and to nodes that join.
pub(crate) const APPLICATION_NAME: &str = "kv";
