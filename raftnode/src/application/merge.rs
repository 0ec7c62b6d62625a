//! Changing a value without reading it.

/// What a value becomes when something is merged into it: see
/// [`Transaction::merge`](super::Transaction::merge).
///
/// A counter adds its operands up, a set unites them, a log appends them.
pub trait MergeOperator: Send + Sync {
    /// What `older` becomes when `operand` is merged into it.
    ///
    /// `older` is a value, or what was merged into the value before, as both come to the same: an
    /// operand that is merged into nothing *is* the value. Must be associative: `merge(merge(a, b),
    /// c)` is `merge(a, merge(b, c))`, as it is up to the storage, and differs from member to
    /// member, what is merged first. Called at any time, on any thread, maybe more than once: the
    /// result depends on nothing but the arguments.
    ///
    /// # Errors
    /// Says what cannot be understood; it stops the node.
    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, String>;
}
