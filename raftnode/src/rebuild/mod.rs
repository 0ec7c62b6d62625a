//! Making a new cluster of one member out of a state: of a backup ([`restore`]), or of what a node
//! has that survived the loss of a majority ([`Survivor`]). For any application; no node may run on
//! the directory meanwhile.
//!
//! Both make a fresh storage beside the old one (`fresh`), within the data directory, because that
//! may be a mount point, which cannot be renamed; and both go through the same steps (`site`):
//!
//! ```text
//! 1  REBUILDING              from here on no node starts on the directory
//! 2  storage.rebuilt/        the state, moved ahead, with a membership of one
//! 3  IDENTITY                of the new cluster: from here on it is finished, not begun anew
//! 4  storage/ ─▶ storage.of-OLD_CLUSTER/      (recovery only)
//! 5  storage.rebuilt/ ─▶ storage/
//! 6  REBUILDING is removed
//! ```
//!
//! Each is durable before the next. A call that was interrupted is finished by the next one: before
//! step 3 that begins anew, and the old storage has not been touched; after it, it goes on.

//! ```no_run
//! # use raftnode::{Application, At, StorageError, Transaction, View};
//! # struct Counters;
//! # impl Application for Counters {
//! #     const SCHEMA: u32 = 1;
//! #     type Command = u64;
//! #     type Response = u64;
//! #     type Query = ();
//! #     type Answer = u64;
//! #     fn apply(&self, _: &mut Transaction, _: At, add: u64) -> Result<u64, StorageError> { Ok(add) }
//! #     fn query(&self, _: &mut View, (): ()) -> Result<u64, StorageError> { Ok(0) }
//! # }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::fs::File;
//! use std::io::BufReader;
//!
//! use raftnode::Member;
//! use raftnode::rebuild::{RestoreOptions, restore};
//!
//! let options = RestoreOptions {
//!     // What `Builder::name` was given; this is its default.
//!     application: "app".to_owned(),
//!     data_dir: "data/9".into(),
//!     node_id: 9,
//!     member: Member::at("10.0.0.9:7101", "10.0.0.9:7001"),
//! };
//! let backup = BufReader::new(File::open("monday.backup")?);
//! let rebuilt = restore(Counters, backup, options).await?;
//! println!("node 9 is the only member of cluster {}", rebuilt.cluster_id);
//! # Ok(())
//! # }
//! ```

mod continued;
mod error;
mod fresh;
mod log_point;
mod marker;
mod recover;
mod restore;
mod site;
#[cfg(test)]
mod tests;

pub use error::RebuildError;
pub use log_point::{LogPoint, NotALogPoint};
pub use recover::{Remains, Survivor, resume};
pub use restore::{RestoreOptions, restore};

use network_grpc::ClusterId;

use crate::raft::NodeId;

/// How far every counter moves ahead, so that no client sees a number again with other content:
/// positions of commands, and what the application counts
/// ([`Application::restored`](crate::Application::restored)).
pub const AHEAD: u64 = crate::application::AHEAD;

/// A cluster of one member that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Its member.
    pub node_id: NodeId,
    /// Its id.
    pub cluster_id: ClusterId,
}
