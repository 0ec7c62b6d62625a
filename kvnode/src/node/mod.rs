//! One running node: its parts, how they are put together, and how they are taken apart.

mod affiliation;
mod data_dir_watch;
mod disk_use;
mod disk_watch;
mod fault;
mod faulty;
mod handover;
mod leader_watch;
mod listeners;
mod local;
mod open_files;
mod readiness;
mod serve;
mod servers;
mod start;
mod steward;

pub use affiliation::Affiliation;
pub use disk_use::{DiskBytes, DiskSpace};
pub use disk_watch::DISK_HANGS_AFTER;
pub use fault::{explain, is_disk_full};
pub use faulty::Faulty;
pub use handover::{HandoverError, answers, hand_over, silence, successor};
pub use leader_watch::LeaderWatch;
pub use listeners::Listeners;
pub use local::{Leader, Local, Standing};
pub use readiness::{MAX_READY_LAG_ENTRIES, Problem};
pub use serve::serve;
pub use start::Node;
pub(crate) use steward::is_joint;
