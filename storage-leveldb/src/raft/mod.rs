//! What openraft asks for, over the log.

mod log_reader;
mod log_storage;
mod log_store;

pub(crate) use log_store::LogPosition;
pub use log_store::{LogReader, LogStore};
