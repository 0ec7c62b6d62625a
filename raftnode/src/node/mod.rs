//! One running node: its parts, how they are put together, and how they are taken apart.

mod administration;
mod builder;
mod error;
mod exchange;
mod faulty;
mod handle;
mod lifetime;
mod listeners;
mod open_files;
mod part;
mod peer_news;
mod servers;
mod start;

pub use builder::Builder;
pub use error::{Error, Failed, StartError};
pub use exchange::{AnswerStream, Ended, Exchange, Outcome, Requests};
pub use handle::{Node, UntilError};
pub(crate) use listeners::BindError;
pub(crate) use listeners::Listeners;
