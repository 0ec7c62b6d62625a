//! Which endpoint the next attempt of a request goes to.

use super::Endpoint;

/// Attempts in a round beyond one per configured endpoint: leaders named by answers. A leader may
/// change once or twice while we look for it; a node that names ever new ones is not followed for
/// ever.
const MAX_HINTS_PER_ROUND: usize = 2;

/// Rounds over the endpoints: each is tried once per round, the leader first if it is wanted.
///
/// Invariants: no endpoint is in `tried` twice; `tried` holds at most [`MAX_HINTS_PER_ROUND`]
/// endpoints that were not configured; an endpoint in `damaged` is never picked.
#[derive(Debug, Default)]
pub(super) struct Route {
    tried: Vec<Endpoint>,
    hints: usize,
    damaged: Vec<Endpoint>,
}

impl Route {
    /// The next endpoint of this round, or none if the round is over.
    pub(super) fn next(
        &mut self,
        leader: Option<Endpoint>,
        configured: &[Endpoint],
        first: usize,
    ) -> Option<Endpoint> {
        let leader = leader.filter(|leader| self.is_open(leader));
        let hint = leader.filter(|leader| configured.contains(leader) || self.hints < MAX_HINTS_PER_ROUND);
        let start = first.min(configured.len());
        let (before, from) = configured.split_at(start);
        let picked = match hint {
            Some(leader) => leader,
            None => from.iter().chain(before).find(|endpoint| self.is_open(endpoint))?.clone(),
        };
        self.hints += usize::from(!configured.contains(&picked));
        self.tried.push(picked.clone());
        Some(picked)
    }

    fn is_open(&self, endpoint: &Endpoint) -> bool {
        !self.tried.contains(endpoint) && !self.damaged.contains(endpoint)
    }

    /// How many configured endpoints this round has yet to try.
    pub(super) fn left_in_round(&self, configured: &[Endpoint]) -> usize {
        configured.iter().filter(|endpoint| self.is_open(endpoint)).count()
    }

    /// Every endpoint may be tried again.
    pub(super) fn new_round(&mut self) {
        self.tried.clear();
        self.hints = 0;
    }

    /// Never pick `endpoint` again for this request.
    pub(super) fn exclude(&mut self, endpoint: &Endpoint) {
        if !self.damaged.contains(endpoint) {
            self.damaged.push(endpoint.clone());
        }
    }

    /// Whether no configured endpoint is left.
    pub(super) fn is_exhausted(&self, configured: &[Endpoint]) -> bool {
        configured.iter().all(|endpoint| self.damaged.contains(endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(names: &[&str]) -> Vec<Endpoint> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn round(route: &mut Route, leader: Option<&str>, all: &[Endpoint], first: usize) -> String {
        let leader = leader.map(|leader| leader.parse::<Endpoint>().unwrap());
        let mut picked = String::new();
        while let Some(endpoint) = route.next(leader.clone(), all, first) {
            picked.push_str(endpoint.as_str().split(':').next().unwrap());
        }
        picked
    }

    #[test]
    fn a_round_tries_each_endpoint_once_and_the_leader_first() {
        let all = endpoints(&["a:1", "b:1", "c:1"]);
        assert_eq!(round(&mut Route::default(), None, &all, 0), "abc");
        assert_eq!(round(&mut Route::default(), None, &all, 2), "cab");
        assert_eq!(round(&mut Route::default(), Some("b:1"), &all, 0), "bac");
        assert_eq!(round(&mut Route::default(), Some("x:1"), &all, 0), "xabc");
    }

    #[test]
    fn ever_new_leaders_end_the_round_too() {
        let all = endpoints(&["a:1"]);
        let mut route = Route::default();
        let picks =
            (1..100).filter(|port| route.next(Some(format!("x:{port}").parse().unwrap()), &all, 0).is_some());
        assert_eq!(picks.count(), 1 + MAX_HINTS_PER_ROUND);
    }

    #[test]
    fn a_damaged_node_is_left_out_of_later_rounds() {
        let all = endpoints(&["a:1", "b:1"]);
        let mut route = Route::default();
        route.exclude(&all[0]);
        assert_eq!(round(&mut route, Some("a:1"), &all, 0), "b");
        route.new_round();
        assert_eq!(round(&mut route, None, &all, 0), "b");
        route.exclude(&all[1]);
        assert!(route.is_exhausted(&all));
    }
}
