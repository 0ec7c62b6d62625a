//! One running node: its parts, how they are put together, and how they are taken apart.

mod handover;
mod leader_watch;
mod listeners;
mod local;
mod readiness;
mod serve;
mod servers;
mod start;

pub use handover::{HandoverError, answers, hand_over, successor};
pub use leader_watch::LeaderWatch;
pub use listeners::Listeners;
pub use local::{DiskBytes, Leader, Local, Standing};
pub use serve::serve;
pub use start::Node;
