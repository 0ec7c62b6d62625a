//! One series: how it is registered, and which numbers it takes.

use prometheus::Registry;
use prometheus::core::Collector;

/// Adds a collector to the registry and hands it back.
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// How many, as a gauge takes it.
pub(super) fn count(ids: impl Iterator) -> i64 {
    i64::try_from(ids.count()).unwrap_or(i64::MAX)
}

/// A number as a gauge takes it.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
