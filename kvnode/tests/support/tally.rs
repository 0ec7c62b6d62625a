//! The longest time without a success.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shared by all who succeed.
#[derive(Debug)]
pub struct Pause(Mutex<(Instant, Duration)>);

impl Pause {
    pub fn new() -> Self {
        Self(Mutex::new((Instant::now(), Duration::ZERO)))
    }

    /// A writer succeeded.
    pub fn success(&self) {
        let mut state = self.0.lock().unwrap();
        state.1 = state.1.max(state.0.elapsed());
        state.0 = Instant::now();
    }

    /// Forgets what was; the next pause starts now.
    pub fn restart(&self) {
        *self.0.lock().unwrap() = (Instant::now(), Duration::ZERO);
    }

    /// The longest since the restart.
    pub fn longest(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}
