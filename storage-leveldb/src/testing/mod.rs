//! For tests of this crate and of applications: a disk that loses power, and fails on demand.

mod sim_disk;

pub use sim_disk::{Failure, SimDisk};
