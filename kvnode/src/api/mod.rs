//! The client API, kv.v1: what comes in is checked (`validate`), becomes a command or a query of
//! the application, and is handed to the node; what the node answers goes out in the protocol's
//! shape.

mod scan;
mod service;
pub(crate) mod validate;

#[cfg(feature = "testing")]
pub(crate) use service::name;
pub(crate) use service::services;
pub use service::{DELETE, GET, PUT, SCAN};
pub use validate::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
