//! Which schema is in force, as far as this node knows.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Written where entries are applied, and by the watch over the members' programs; read where
/// entries are proposed.
#[derive(Debug)]
pub(crate) struct InForce {
    /// Of this program.
    own: u32,
    /// Of the last entry applied.
    applied: AtomicU32,
    /// Anything was applied ever.
    has_history: AtomicBool,
    /// All members have at least this one, as the node has found while it led.
    agreed: AtomicU32,
}

impl InForce {
    pub(crate) fn new(own: u32) -> Self {
        let (applied, has_history, agreed) = Default::default();
        Self { own, applied, has_history, agreed }
    }

    /// Of this node's program.
    pub(crate) fn own(&self) -> u32 {
        self.own
    }

    /// This was in force for an entry that is applied.
    pub(crate) fn applied(&self, schema: u32, position: u64) {
        self.applied.store(schema, Ordering::Release);
        self.has_history.store(position > 0, Ordering::Release);
    }

    /// All members' programs have `schema` or a later one.
    pub(crate) fn agreed(&self, schema: u32) {
        self.agreed.fetch_max(schema, Ordering::AcqRel);
    }

    /// For the next entry that this node proposes. A cluster that has applied nothing has no older
    /// program that would have to be waited for.
    pub(crate) fn next(&self) -> u32 {
        if !self.has_history.load(Ordering::Acquire) {
            return self.own;
        }
        let agreed = self.agreed.load(Ordering::Acquire).min(self.own);
        self.applied.load(Ordering::Acquire).max(agreed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_comes_into_force_once_all_members_have_it_and_never_goes_back() {
        let in_force = InForce::new(3);
        assert_eq!(in_force.next(), 3, "a new cluster");
        in_force.applied(1, 1);
        assert_eq!(in_force.next(), 1);
        in_force.agreed(2);
        assert_eq!(in_force.next(), 2);
        in_force.agreed(1);
        in_force.applied(2, 9);
        assert_eq!(in_force.next(), 2);
        in_force.agreed(4);
        assert_eq!(in_force.next(), 3, "what this program does not know it does not propose");
    }
}
