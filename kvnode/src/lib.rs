//! `kvnode`: the replicated key-value server.
//!
//! An application of `raftnode`, which is everything that a member of a cluster needs and knows
//! nothing of keys and values. What is here: what a command means (`app`), the protocol of its
//! clients (`api`), and the operator's side: `config`, `playground`, `check`, `cert`, `restore`,
//! `recover`. It is
//! what the program is made of, and may change in any version.
//!
//! ## Features
//!
//! None is on by default. `testing` is for the fuzz targets of the repository and not part of the
//! interface.

pub mod api;
pub mod app;
mod cert;
pub mod check;
pub mod config;
pub mod playground;
mod program;
mod recover;
mod restore;
mod serve;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

pub use api::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use app::{Answer, Command, Found, KvApplication, PairRecord, Query, Response, ScanQuery};
pub use config::{Cli, Config, ConfigErrors};
pub use program::{EXIT_BAD_ARGUMENTS, EXIT_FAILURE, run};
