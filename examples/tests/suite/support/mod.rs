//! What the tests of the examples share: processes of an example, made a cluster (`cluster`), one
//! of them (`node`), ports for it (`ports`), plain HTTP to it (`http`), and choices that can be
//! made again (`dice`).
#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod cluster;
mod dice;
mod http;
mod node;
mod ports;

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

pub use cluster::Cluster;
pub use dice::Dice;
pub use http::{Answer, exchange};
pub use node::Node;
pub use ports::hold_port;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Tries until it succeeds.
pub fn until<T, E: Debug>(what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(why) => assert!(started.elapsed() < DEADLINE, "{what}: {why:?}"),
        }
        thread::sleep(POLL);
    }
}
