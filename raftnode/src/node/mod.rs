//! One running node: its parts, how they are put together, and how they are taken apart.

mod affiliation;
mod builder;
mod data_dir_watch;
mod disk_use;
mod disk_watch;
mod error;
mod fault;
mod faulty;
mod handle;
mod handover;
mod leader_watch;
mod lifetime;
mod listeners;
mod local;
mod open_files;
mod readiness;
mod servers;
mod start;
mod steward;

pub use affiliation::Affiliation;
pub use disk_use::{DiskBytes, DiskSpace};
pub use disk_watch::DISK_HANGS_AFTER;
pub use builder::Builder;
pub use error::{Error, Failed, StartError};
pub use fault::{explain, is_disk_full};
pub use faulty::Faulty;
pub use handle::{Node, UntilError};
pub use handover::{HandoverError, answers, hand_over, silence, successor};
pub use leader_watch::LeaderWatch;
pub use listeners::{BindError, Listeners};
pub use local::{Leader, Local, Standing};
pub use readiness::{MAX_READY_LAG_ENTRIES, Problem};
pub(crate) use steward::is_joint;
