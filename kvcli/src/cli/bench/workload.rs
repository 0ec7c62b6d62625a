//! What one operation of a benchmark is.

use bytes::Bytes;
use kvcli::{Client, ClientError, ReadMode};

use crate::exit::Problem;

const KEY_PREFIX: &str = "bench/";
/// Values are windows of one random buffer, which is this much longer than a value: they differ,
/// they do not compress, and making one costs nothing.
const VALUE_VARIETY_BYTES: usize = 64 * 1024;

/// Which operation comes next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Puts key number `n` as operation `n`.
    StoreEach,
    /// Gets and puts of random keys.
    Mixed {
        /// 0: only puts, 100: only gets.
        read_percent: u8,
    },
}

/// Operations over a set of numbered keys. Cheap to clone.
///
/// Invariants: a key number below `key_space` fits into `key_bytes` behind the prefix;
/// `randomness` holds `value_bytes + VALUE_VARIETY_BYTES` bytes.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    kind: Kind,
    key_bytes: usize,
    value_bytes: usize,
    key_space: u64,
    randomness: Bytes,
}

impl Workload {
    pub(super) fn new(
        kind: Kind,
        key_bytes: usize,
        value_bytes: usize,
        key_space: u64,
    ) -> Result<Self, Problem> {
        let needed = KEY_PREFIX.len() + key_space.saturating_sub(1).to_string().len();
        if key_bytes < needed {
            return Err(Problem::BadArguments(format!(
                "{key_space} keys do not fit into --key-size {key_bytes}; {needed} or more are needed"
            )));
        }
        let randomness = (0..value_bytes + VALUE_VARIETY_BYTES).map(|_| rand::random::<u8>()).collect();
        Ok(Self { kind, key_bytes, value_bytes, key_space, randomness })
    }

    /// Carries out operation number `number`.
    pub(super) async fn operate(&self, client: &Client, number: u64) -> Result<(), ClientError> {
        let (key, read) = match self.kind {
            Kind::StoreEach => (self.key(number), false),
            Kind::Mixed { read_percent } => {
                let key = self.key(rand::random_range(0..self.key_space));
                (key, rand::random_range(0..100) < read_percent)
            }
        };
        match read {
            true => client.get(key, ReadMode::Linearizable).await.map(drop),
            false => client.put(key, self.value()).await.map(drop),
        }
    }

    /// Makes the client dial, and learn who leads.
    pub(super) async fn warm_up(&self, client: &Client) -> Result<(), ClientError> {
        client.get(self.key(0), ReadMode::Linearizable).await.map(drop)
    }

    fn key(&self, number: u64) -> String {
        let digits = self.key_bytes - KEY_PREFIX.len();
        format!("{KEY_PREFIX}{number:0digits$}")
    }

    fn value(&self) -> Bytes {
        let start = rand::random_range(0..VALUE_VARIETY_BYTES);
        self.randomness.slice(start..start + self.value_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_the_wanted_size() {
        let workload = Workload::new(Kind::StoreEach, 16, 256, 1000).unwrap();
        assert_eq!(workload.key(7), "bench/0000000007");
        assert_eq!(workload.key(999).len(), 16);
        assert_eq!(workload.value().len(), 256);
    }

    #[test]
    fn keys_that_do_not_fit_are_refused() {
        assert!(Workload::new(Kind::StoreEach, 8, 0, 100).is_ok());
        assert!(Workload::new(Kind::StoreEach, 8, 0, 101).is_err());
    }
}
