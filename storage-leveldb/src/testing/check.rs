//! Compares what a storage holds with what it has promised.

use super::broken::{Broken, promise};
use super::found::Found;
use super::model::{Logged, Model};
use super::subject::TestTypes;

impl<C: TestTypes> Model<C> {
    /// After a crash in the middle of the requests in flight, if any.
    pub(crate) fn check(&self, found: &Found<C>) -> Result<(), Broken> {
        self.check_log_and_vote(found)?;
        self.check_committed(found)?;
        self.check_state(found)?;
        self.check_snapshot(found)?;
        let restorable = found.restorable_end();
        promise!(
            restorable >= found.purged_end(),
            "purged up to {}, but state and snapshot end at {restorable}",
            found.purged_end()
        );
        Ok(())
    }

    /// Without a crash: nothing may have been lost, durable or not.
    pub(crate) fn check_exactly(&self, found: &Found<C>) -> Result<(), Broken> {
        self.check(found)?;
        type End<C> = fn(&Model<C>) -> u64;
        let ends: [(&str, u64, End<C>); 4] = [
            ("log", found.log_end(), |state| state.log_end),
            ("purged", found.purged_end(), |state| state.purged_end),
            ("applied", found.applied_end(), |state| state.applied_end),
            ("committed", found.committed_end(), |state| state.committed_end),
        ];
        for (what, found, end) in ends {
            let before = end(self);
            promise!(
                self.outcomes().any(|state| end(state) == found),
                "{what} ends at {found}, not at {before}"
            );
        }
        Ok(())
    }

    /// Nothing acknowledged is missing, nothing truncated comes back, there are no holes, and the
    /// vote never goes back. Requests in flight take effect in their order.
    fn check_log_and_vote(&self, found: &Found<C>) -> Result<(), Broken> {
        let mut reasons = Vec::new();
        for state in self.outcomes() {
            match state.log_and_vote_are(found) {
                Ok(()) => return Ok(()),
                Err(reason) => reasons.push(reason.to_string()),
            }
        }
        Err(Broken::Promise(reasons.join("; or, with one more request, ")))
    }

    /// Whether these are the log and the vote, up to what need not survive.
    pub(super) fn log_and_vote_are(&self, found: &Found<C>) -> Result<(), Broken> {
        let promised = &self.vote;
        promise!(found.vote == *promised, "the vote is {:?}, not {promised:?}", found.vote);
        self.log_is(found)
    }

    /// Whether this is the log, up to what need not survive.
    fn log_is(&self, found: &Found<C>) -> Result<(), Broken> {
        let (purged_end, log_end) = (found.purged_end(), found.log_end());
        let expected_end = self.entries_end.max(purged_end);
        promise!(log_end == expected_end, "the log ends at {log_end}, not at {expected_end}");
        promise!(
            (self.durable_purged_end..=self.purged_end).contains(&purged_end),
            "purged up to {purged_end}, asked for {}, durable {}",
            self.purged_end,
            self.durable_purged_end
        );
        promise!(found.purged == self.id_before(purged_end), "purged {:?}, which never was", found.purged);
        promise!(found.last == self.id_before(log_end), "last is {:?}, which never was", found.last);
        let indexes: Vec<u64> = found.entries.iter().map(|(index, _)| *index).collect();
        let expected: Vec<u64> = (purged_end..log_end).collect();
        promise!(indexes == expected, "a hole in the log {purged_end}..{log_end}: {indexes:?}");
        for (index, record) in &found.entries {
            let written = self.logged(*index)?;
            promise!(
                written.record == *record,
                "entry {index} is {}, not {}",
                Logged::<C>::text(record),
                Logged::<C>::text(&written.record)
            );
        }
        Ok(())
    }

    /// The committed id may be old, but it never goes back behind a sync and never speaks of what
    /// was not asked.
    fn check_committed(&self, found: &Found<C>) -> Result<(), Broken> {
        let (end, after) = (found.committed_end(), self.after());
        promise!(
            (self.durable_committed_end..=after.committed_end).contains(&end),
            "committed up to {end}, asked for {}, durable {}",
            after.committed_end,
            self.durable_committed_end
        );
        promise!(found.committed == after.id_before(end), "committed {:?}, which never was", found.committed);
        Ok(())
    }

    /// The state is a prefix of the log, with its exact applied log id and membership.
    fn check_state(&self, found: &Found<C>) -> Result<(), Broken> {
        let (end, after) = (found.applied_end(), self.after());
        promise!(
            (self.durable_applied_end..=after.applied_end).contains(&end),
            "applied up to {end}, asked for {}, durable {}",
            after.applied_end,
            self.durable_applied_end
        );
        promise!(found.applied == after.id_before(end), "applied {:?}, which never was", found.applied);
        let expected = after.state_at(end)?;
        promise!(
            found.pairs == expected.pairs,
            "the state at {end} is\n{:?}, not\n{:?}",
            found.pairs,
            expected.pairs
        );
        promise!(found.membership == expected.membership, "the membership at {end} is {}", found.membership);
        Ok(())
    }

    /// A snapshot no older than the last that was promised, complete.
    fn check_snapshot(&self, found: &Found<C>) -> Result<(), Broken> {
        let (end, after) = (found.snapshot_end(), self.after());
        promise!(
            (self.snapshot_end..=after.applied_end).contains(&end),
            "the snapshot ends at {end}, promised {}, applied {}",
            self.snapshot_end,
            after.applied_end
        );
        let Some((meta, pairs)) = &found.snapshot else {
            return Ok(());
        };
        promise!(meta.last_log_id == after.id_before(end), "a snapshot of {:?}, which never was", meta);
        let expected = after.state_at(end)?;
        promise!(*pairs == expected.pairs, "the snapshot at {end} has\n{pairs:?}, not\n{:?}", expected.pairs);
        promise!(meta.last_membership == expected.membership, "the snapshot at {end} is {meta}");
        Ok(())
    }
}
