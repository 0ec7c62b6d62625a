//! The client API, kv.v1: what comes in is checked (`validate`), becomes a command or a query of
//! the application (`shapes`) if its caller may touch its keys (`access`), and is handed to the
//! node; what the node answers goes out in the protocol's shape. `service` has the calls, `session`
//! the same operations over one stream.

mod access;
mod scan;
mod service;
mod session;
mod shapes;
pub(crate) mod validate;

pub(crate) use access::check_scope;
pub(crate) use service::services;
pub use shapes::{DELETE, GET, PUT, SCAN};
#[cfg(feature = "testing")]
pub(crate) use shapes::{Delete, Put};
pub use validate::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
