//! The last 15 minutes of this node, in memory: samples of what it counted, and what happened. For
//! the status page; a restart forgets all of it, and Prometheus keeps what should be kept.
//!
//! `meter` reads the series, `watch` sees changes, `store` keeps both within bounds. `api` hands
//! them out.

mod meter;
mod store;
mod watch;

pub(crate) use meter::{DISK_BOUNDS_SECONDS, REQUEST_BOUNDS_SECONDS, quantile};
pub(crate) use store::{
    History, MAX_EVENT_TEXT_BYTES, MAX_EVENTS, MAX_SAMPLES, SAMPLE_INTERVAL, unix_millis,
};
pub(crate) use watch::run;
