//! The replicated application: what a command does to the pairs, and what a query sees of them.
//!
//! Called by `storage-leveldb` in log order on its state thread, with the same commands and indexes on
//! every node, so everything here depends on nothing but its arguments.

mod application;
mod command;
#[cfg(test)]
#[cfg(test)]
mod harness;
mod keys;
mod pair;
mod query;
mod response;
mod session;
mod stored;
mod sweep;
#[cfg(test)]
mod tests;

pub use application::KvApplication;
pub use command::{Command, RequestId};
pub use pair::PairRecord;
pub use query::{Answer, Found, Query, ScanQuery};
pub use response::Response;
pub(crate) use stored::check_stored;
