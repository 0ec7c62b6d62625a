//! Who can talk to whom: every graph of a few nodes, up to renaming them.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

/// Which of `size` nodes are linked, which one leads when the others' links break, and which one is
/// dead from then on. Nodes are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Case {
    pub size: usize,
    /// Pairs `(a, b)` with `a < b` that still hear each other.
    pub links: BTreeSet<(usize, usize)>,
    pub leader: usize,
    pub dead: Option<usize>,
}

impl Case {
    /// Every case of `size` nodes, with all of them alive or one dead, up to renaming.
    pub fn all(size: usize) -> Vec<Self> {
        let orders = permutations(size);
        let (mut seen, mut cases) = (HashSet::new(), Vec::new());
        for dead in [None, Some(size - 1)] {
            for links in link_sets(size - usize::from(dead.is_some())) {
                for leader in 0..size {
                    let case = Self { size, links: links.clone(), leader, dead };
                    if seen.insert(case.canonical(&orders)) {
                        cases.push(case);
                    }
                }
            }
        }
        cases
    }

    /// The least of all cases that differ in names only.
    fn canonical(&self, orders: &[Vec<usize>]) -> Self {
        orders.iter().map(|order| self.renamed(order)).min().unwrap()
    }

    fn renamed(&self, to: &[usize]) -> Self {
        let link = |&(a, b): &(usize, usize)| (to[a].min(to[b]), to[a].max(to[b]));
        let links = self.links.iter().map(link).collect();
        Self { links, leader: to[self.leader], dead: self.dead.map(|dead| to[dead]), ..*self }
    }

    pub fn are_linked(&self, a: usize, b: usize) -> bool {
        self.links.contains(&(a.min(b), a.max(b)))
    }

    pub fn alive(&self) -> impl Iterator<Item = usize> {
        let dead = self.dead;
        (0..self.size).filter(move |node| Some(*node) != dead)
    }

    fn majority(&self) -> usize {
        self.size / 2 + 1
    }

    /// A majority of the nodes are alive and all hear each other.
    pub fn has_linked_majority(&self) -> bool {
        let alive: Vec<usize> = self.alive().collect();
        (0_u32..1 << alive.len()).any(|chosen| {
            let chosen: Vec<usize> =
                alive.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1).map(|(_, n)| *n).collect();
            let all_linked = chosen.iter().all(|a| chosen.iter().all(|b| a == b || self.are_linked(*a, *b)));
            chosen.len() >= self.majority() && all_linked
        })
    }

    /// A node hears so many that it would be a majority with them.
    pub fn has_center(&self) -> bool {
        self.alive().any(|a| 1 + self.alive().filter(|b| self.are_linked(a, *b)).count() >= self.majority())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes, {} led", self.size, self.leader)?;
        if let Some(dead) = self.dead {
            write!(f, ", {dead} dead")?;
        }
        write!(f, ", linked:")?;
        self.links.iter().try_for_each(|(a, b)| write!(f, " {a}-{b}"))
    }
}

/// Every set of links of `size` nodes.
fn link_sets(size: usize) -> impl Iterator<Item = BTreeSet<(usize, usize)>> {
    let pairs: Vec<(usize, usize)> = (0..size).flat_map(|a| (a + 1..size).map(move |b| (a, b))).collect();
    (0_u32..1 << pairs.len()).map(move |chosen| {
        pairs.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1).map(|(_, pair)| *pair).collect()
    })
}

fn permutations(size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let insert = |shorter: Vec<usize>| {
        (0..size).map(move |at| {
            let mut longer = shorter.clone();
            longer.insert(at, size - 1);
            longer
        })
    };
    permutations(size - 1).into_iter().flat_map(insert).collect()
}

#[test]
fn as_many_cases_as_there_are_graphs() {
    let count = |size, dead: bool| Case::all(size).iter().filter(|case| case.dead.is_some() == dead).count();
    // Graphs of three, four and five nodes with one of them marked (the leader): OEIS A000666.
    assert_eq!([3, 4, 5].map(|size| count(size, false)), [6, 20, 90]);
    // One node less, with the leader among them, or dead.
    assert_eq!([3, 4, 5].map(|size| count(size, true)), [2 + 2, 6 + 4, 20 + 11]);
}
