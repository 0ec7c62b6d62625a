//! One running node: its parts, how they are put together, and how they are taken apart.

mod administration;
mod affiliation;
mod builder;
mod data_dir_watch;
mod disk_use;
mod disk_watch;
mod error;
mod exchange;
mod fault;
mod faulty;
mod handle;
mod handover;
mod leader_watch;
mod lifetime;
mod listeners;
mod local;
mod open_files;
mod part;
mod peer_news;
mod readiness;
mod schema_watch;
mod servers;
mod snapshot_watch;
mod start;
mod steward;

pub(crate) use affiliation::{Affiliation, is_first_member};
pub use builder::Builder;
pub(crate) use disk_use::{DiskBytes, DiskSpace};
pub use error::{Error, Failed, StartError};
pub use exchange::{AnswerStream, Ended, Exchange, Outcome, Requests};
pub(crate) use fault::{explain, is_disk_full};
pub(crate) use faulty::Faulty;
pub use handle::{Node, UntilError};
pub(crate) use handover::{HandoverError, answers, hand_over, silence, successor};
pub(crate) use leader_watch::LeaderWatch;
pub(crate) use listeners::BindError;
pub(crate) use listeners::Listeners;
pub(crate) use local::{Leader, Local, Standing};

pub(crate) use readiness::MAX_READY_LAG_ENTRIES;
pub(crate) use steward::is_joint;
