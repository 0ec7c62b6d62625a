//! What nodes say to each other beside Raft: who they are, and how one comes to belong to a cluster
//! (`node.v1`, on the port for peers).
//!
//! A node without a cluster takes one only by an explicit act: a founder whose peer list names it
//! (`Reserve`, then `Adopt`), or the leader of the cluster that adds it (`Adopt`). A node that
//! belongs to a cluster never changes it.

mod enrollment;
mod entrance;
mod question;
mod service;

pub(crate) use enrollment::{Enrollment, EnrollmentError, RESERVATION};
pub(crate) use entrance::Entrance;
pub(crate) use question::{ASK_TIMEOUT, AskError, Description, adopt, describe, digests, reserve};
pub(crate) use service::{PeerService, own_description};
