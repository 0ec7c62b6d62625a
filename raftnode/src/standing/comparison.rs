//! Which nodes have applied something else than the others, and which of them are wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::application::Checkpoint;
use crate::raft::NodeId;

/// What the nodes know of their digests.
pub(crate) type Checkpoints = BTreeMap<NodeId, Vec<Checkpoint>>;

/// Where two histories part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The last entry known at which they are the same.
    pub(crate) same_until: Option<u64>,
    /// The first entry known at which they are not.
    pub(crate) at: u64,
}

/// What a node makes of the digests of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// No node is known to differ.
    Well,
    /// A majority of the voters, which has applied the same, says that this node has not.
    Wrong { majority: BTreeSet<NodeId>, difference: Difference },
    /// A majority of the voters, with this node, has applied the same, and these have not.
    Others(BTreeMap<NodeId, Difference>),
    /// These differ, and neither side is known to be a majority.
    Undecided(BTreeMap<NodeId, Difference>),
}

/// What comparing two histories comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// Nothing is known of an entry that both have applied.
    Unknown,
    Same,
    Different(Difference),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.same_until {
            Some(until) => write!(f, "different at log entry {}, and the same at entry {until}", self.at),
            None => write!(f, "different at log entry {}, or before it", self.at),
        }
    }
}

/// Compares at the last entry that both know. Both orders are ascending. A digest contains those
/// before it, so two that are the same once were the same at every entry before, unless a snapshot
/// has replaced the state since.
pub(crate) fn compare(own: &[Checkpoint], theirs: &[Checkpoint]) -> Comparison {
    let theirs: BTreeMap<_, _> =
        theirs.iter().map(|checkpoint| (checkpoint.index, checkpoint.digest)).collect();
    let common = own.iter().filter_map(|one| Some((one.index, one.digest == *theirs.get(&one.index)?)));
    let mut last_same = None;
    let mut parted = None;
    let mut any = false;
    for (index, is_same) in common {
        any = true;
        if is_same {
            (last_same, parted) = (Some(index), None);
        } else {
            parted.get_or_insert(Difference { same_until: last_same, at: index });
        }
    }
    match parted {
        Some(difference) => Comparison::Different(difference),
        None if any => Comparison::Same,
        None => Comparison::Unknown,
    }
}

/// What node `id` makes of its own digests and of those that others have answered.
pub(crate) fn judge(
    id: NodeId,
    own: &[Checkpoint],
    others: &Checkpoints,
    voters: &BTreeSet<NodeId>,
) -> Judgement {
    let is_majority = |nodes: usize| nodes * 2 > voters.len();
    let mut agree = usize::from(voters.contains(&id));
    let mut differ = BTreeMap::new();
    for (node, theirs) in others {
        match compare(own, theirs) {
            Comparison::Unknown => {}
            Comparison::Same => agree += usize::from(voters.contains(node)),
            Comparison::Different(difference) => drop(differ.insert(*node, difference)),
        }
    }
    if differ.is_empty() {
        return Judgement::Well;
    }
    if is_majority(agree) {
        return Judgement::Others(differ);
    }
    // They must not only differ from this node, but also be of one opinion.
    let of_one_opinion = own.iter().rev().find_map(|own| {
        let mut opinions = BTreeMap::<u64, BTreeSet<NodeId>>::new();
        for node in differ.keys().filter(|node| voters.contains(node)) {
            let theirs = others.get(node)?.iter().find(|theirs| theirs.index == own.index);
            if let Some(theirs) = theirs.filter(|theirs| theirs.digest != own.digest) {
                opinions.entry(theirs.digest.to_bits()).or_default().insert(*node);
            }
        }
        opinions.into_values().find(|nodes| is_majority(nodes.len()))
    });
    let first = |nodes: &BTreeSet<NodeId>| {
        let found = nodes.iter().filter_map(|node| differ.get(node)).copied();
        found.min_by_key(|difference| difference.at)
    };
    match of_one_opinion.and_then(|majority| Some((first(&majority)?, majority))) {
        Some((difference, majority)) => Judgement::Wrong { majority, difference },
        None => Judgement::Undecided(differ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::Digest;

    fn history(of: &[(u64, u64)]) -> Vec<Checkpoint> {
        let checkpoint =
            |(index, digest): &(u64, u64)| Checkpoint { index: *index, digest: Digest::from_bits(*digest) };
        of.iter().map(checkpoint).collect()
    }

    fn judged(own: &[(u64, u64)], others: &[&[(u64, u64)]], voters: u64) -> Judgement {
        let others = (2..).zip(others).map(|(node, of)| (node, history(of))).collect();
        judge(1, &history(own), &others, &(1..=voters).collect())
    }

    const GOOD: &[(u64, u64)] = &[(1, 10), (2, 20), (3, 30)];
    const BAD: &[(u64, u64)] = &[(1, 10), (2, 21), (3, 31)];
    const WORSE: &[(u64, u64)] = &[(2, 22), (3, 32)];

    #[test]
    fn the_one_that_differs_from_a_majority_is_wrong_and_knows_where() {
        let difference = Difference { same_until: Some(1), at: 2 };
        let wrong = Judgement::Wrong { majority: [2, 3].into(), difference };
        assert_eq!(judged(BAD, &[GOOD, GOOD], 3), wrong);
        assert_eq!(judged(GOOD, &[GOOD, BAD], 3), Judgement::Others([(3, difference)].into()));
        // A learner neither counts nor is spared.
        assert_eq!(
            judged(GOOD, &[BAD, BAD], 1),
            Judgement::Others([(2, difference), (3, difference)].into())
        );
        let voters = [2, 3].into();
        let others = [(2, history(GOOD)), (3, history(GOOD))].into();
        assert_eq!(judge(1, &history(BAD), &others, &voters), wrong);
    }

    #[test]
    fn without_a_majority_no_node_is_wrong() {
        let is_undecided = |judgement| matches!(judgement, Judgement::Undecided(_));
        // Two voters; half of four; one of three is away; all three differ.
        assert!(is_undecided(judged(BAD, &[GOOD], 2)));
        assert!(is_undecided(judged(BAD, &[GOOD, GOOD], 4)));
        assert!(is_undecided(judged(BAD, &[BAD, GOOD, GOOD], 4)));
        assert!(is_undecided(judged(BAD, &[GOOD], 3)));
        assert!(is_undecided(judged(BAD, &[GOOD, WORSE], 3)));
        // Two that differ from this one are no majority if they do not agree at one entry.
        assert!(is_undecided(judged(BAD, &[&[(2, 20)], &[(3, 30)]], 3)));
    }

    #[test]
    fn what_cannot_be_compared_is_no_difference() {
        for others in [&[][..], &[&[][..], &[][..]], &[GOOD, &[(4, 40)]], &[&[(9, 9)], &[(0, 0)]]] {
            assert_eq!(judged(GOOD, others, 3), Judgement::Well);
        }
        // A node that got a snapshot of the others has what it differed in no more.
        assert_eq!(judged(&[(1, 10), (2, 21), (3, 30)], &[GOOD, GOOD], 3), Judgement::Well);
    }
}
