//! What must hold of a part between two calls. The workloads of the tests ask after every step;
//! asking costs too much to be done in production.

/// The first that does not hold.
pub(crate) fn all_hold(invariants: &[(&'static str, bool)]) -> Result<(), &'static str> {
    invariants.iter().find(|(_, holds)| !holds).map_or(Ok(()), |(broken, _)| Err(broken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_does_not_hold_is_named() {
        assert_eq!(all_hold(&[("a", true), ("b", false), ("c", false)]), Err("b"));
        assert_eq!(all_hold(&[("a", true)]), Ok(()));
    }
}
