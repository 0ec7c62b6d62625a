//! The receiving side: checks what a peer sends and hands it to the local `Raft`.

pub(crate) mod admission;
mod append;
mod identity;
mod service;
mod snapshot;
mod transport;

pub use identity::CertifiedSender;
pub use service::RaftService;
pub use transport::{incoming, server_builder};
