//! The digests of this node at its last entries, so that others can compare theirs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::digest::Digest;

/// The last entries are all kept, for nodes that are as far as this one.
const RECENT_CHECKPOINTS: usize = 64;
/// Of older ones those are kept whose commands pass a multiple of this, the same on every node: for
/// nodes that are behind by up to [`SPARSE_CHECKPOINTS`] times as many commands.
const SPARSE_EVERY_COMMANDS: u64 = 4096;
const SPARSE_CHECKPOINTS: usize = 64;
/// What a node knows at a time, at most.
pub(crate) const MAX_CHECKPOINTS: usize = RECENT_CHECKPOINTS + SPARSE_CHECKPOINTS + 1;

/// The digest of what was applied up to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) index: u64,
    pub(crate) digest: Digest,
}

/// Invariant: all checkpoints are of the history that led to the present state, in ascending order.
#[derive(Debug, Default)]
struct Checkpoints {
    recent: VecDeque<Checkpoint>,
    sparse: VecDeque<Checkpoint>,
}

/// Written by the thread that applies, read by whatever compares.
#[derive(Debug, Default)]
pub(crate) struct Trail(Mutex<Checkpoints>);

impl Checkpoints {
    /// What was applied before a snapshot replaced the state is not what led to it.
    fn follow(&mut self, before: Digest) {
        if self.recent.back().is_some_and(|last| last.digest != before) {
            *self = Self::default();
        }
    }
}

fn push(to: &mut VecDeque<Checkpoint>, checkpoint: Checkpoint, most: usize) {
    if to.len() == most {
        to.pop_front();
    }
    to.push_back(checkpoint);
}

impl Trail {
    fn checkpoints(&self) -> MutexGuard<'_, Checkpoints> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry is applied. `before`: the digest, and the number of commands, that the state had.
    pub(super) fn note(&self, before: (Digest, u64), checkpoint: Checkpoint, position: u64) {
        let mut checkpoints = self.checkpoints();
        checkpoints.follow(before.0);
        debug_assert!(checkpoints.recent.back().is_none_or(|last| last.index < checkpoint.index), "in order");
        push(&mut checkpoints.recent, checkpoint, RECENT_CHECKPOINTS);
        if before.1 / SPARSE_EVERY_COMMANDS != position / SPARSE_EVERY_COMMANDS {
            push(&mut checkpoints.sparse, checkpoint, SPARSE_CHECKPOINTS);
        }
    }

    /// All that is known, in ascending order. `now`: what a view of the state has just shown, which
    /// an entry without commands, a restart or a snapshot may have moved on.
    pub(crate) fn with(&self, now: Checkpoint) -> Vec<Checkpoint> {
        let mut checkpoints = self.checkpoints();
        if checkpoints.recent.back().is_some_and(|last| last.index < now.index) {
            checkpoints.follow(now.digest);
        }
        let all = checkpoints.sparse.iter().chain(&checkpoints.recent).chain([&now]);
        all.map(|checkpoint| (checkpoint.index, *checkpoint))
            .collect::<BTreeMap<_, _>>()
            .into_values()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Checkpoint {
        Checkpoint { index, digest: Digest::from_bits(index) }
    }

    /// Entries of 100 commands each, from `first` on.
    fn apply(trail: &Trail, entries: std::ops::RangeInclusive<u64>) {
        for index in entries {
            let before = (Digest::from_bits(index - 1), 100 * (index - 1));
            trail.note(before, at(index), 100 * index);
        }
    }

    #[test]
    fn two_nodes_have_an_entry_in_common_unless_one_is_far_behind() {
        let (one, other) = (Trail::default(), Trail::default());
        apply(&one, 1..=9_000);
        apply(&other, 1..=7_000);
        let (one, other) = (one.with(at(9_000)), other.with(at(7_000)));
        assert!(one.len() <= MAX_CHECKPOINTS && one.is_sorted_by_key(|checkpoint| checkpoint.index));
        assert!(one.iter().filter(|checkpoint| other.contains(checkpoint)).count() > 10);
        assert!(one.iter().rev().zip((0..=9_000).rev()).take(64).all(|(found, index)| *found == at(index)));
    }

    /// A node that has differed, and has got its state from another one since, is not to be blamed
    /// for what it had.
    #[test]
    fn a_snapshot_leaves_nothing_of_another_history() {
        for applies_on in [false, true] {
            let trail = Trail::default();
            let wrong = Checkpoint { index: 5, digest: Digest::from_bits(99) };
            trail.note((Digest::default(), 0), wrong, 1);
            if applies_on {
                apply(&trail, 9..=9);
                assert_eq!(trail.with(at(9)), [at(9)]);
            } else {
                assert_eq!(trail.with(at(8)), [at(8)]);
            }
        }
    }

    #[test]
    fn a_view_that_is_behind_the_last_entry_changes_nothing() {
        let trail = Trail::default();
        apply(&trail, 1..=3);
        assert_eq!(trail.with(at(2)), [at(1), at(2), at(3)]);
        // openraft's own entries have no commands.
        let later = Checkpoint { index: 5, ..at(3) };
        assert_eq!(trail.with(later), [at(1), at(2), at(3), later]);
    }
}
