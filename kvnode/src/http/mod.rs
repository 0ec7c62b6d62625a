//! HTTP, for people and their monitoring: `/metrics`, `/livez`, `/readyz`, `/api/status` and `/`.
//!
//! Never serves data, and is the last surface to go: after a storage fault it is where this node says
//! why it does not serve.

mod health;
mod page;
mod router;
mod status;

pub use router::{Surface, router};
pub use status::StatusDocument;
