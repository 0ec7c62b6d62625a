//! How many connections each listener may have, which follows from how many files the process may
//! open.

/// Files kept back for what is neither a table of the state nor a connection that was accepted:
/// the log's segments, locks, the runtime, connections to peers, and one connection in hand for
/// each listener. The storage keeps as many tables open as half of the limit allows, so that half
/// is kept back as well.
pub(super) const KEPT_BACK_FILES: u64 = 64;
/// Connections of clients, whatever the limit of open files.
pub(super) const MAX_CLIENT_CONNECTIONS: usize = 16_384;
/// Connections of peers, whatever the limit. A peer has a few.
pub(super) const MAX_PEER_CONNECTIONS: usize = 256;
/// HTTP connections, whatever the limit.
pub(super) const MAX_HTTP_CONNECTIONS: usize = 256;
/// Connections of each kind, even if the limit is too low for that.
const MIN_CONNECTIONS: usize = 8;

/// Connections at a time, for each listener by itself: clients cannot take the places of peers,
/// nor peers those of health checks.
///
/// Invariant: together they are less than half of the open files that they were computed from,
/// unless these are so few that each listener has its least number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// Of clients.
    pub clients: usize,
    /// Of other nodes.
    pub peers: usize,
    /// Over HTTP.
    pub http: usize,
}

impl ConnectionLimits {
    /// For a process that may have so many files open: of one half less [`KEPT_BACK_FILES`],
    /// peers and HTTP have a quarter each, and clients have what is left.
    #[must_use]
    pub(crate) fn of(open_files: u64) -> Self {
        let all = usize::try_from((open_files / 2).saturating_sub(KEPT_BACK_FILES)).unwrap_or(usize::MAX);
        let peers = (all / 4).clamp(MIN_CONNECTIONS, MAX_PEER_CONNECTIONS);
        let http = (all / 4).clamp(MIN_CONNECTIONS, MAX_HTTP_CONNECTIONS);
        let rest = all.saturating_sub(peers).saturating_sub(http);
        Self { clients: rest.clamp(MIN_CONNECTIONS, MAX_CLIENT_CONNECTIONS), peers, http }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_and_some_more_are_kept_back() {
        for open_files in [256, 1024, 4096, 65_536, 1 << 20, u64::MAX] {
            let ConnectionLimits { clients, peers, http } = ConnectionLimits::of(open_files);
            let all = (clients + peers + http) as u64;
            assert!(all + KEPT_BACK_FILES <= open_files / 2, "{open_files}: {clients}, {peers}, {http}");
        }
    }

    /// The figures of the runbook's table.
    #[test]
    fn limits_are_what_the_runbook_says() {
        let runbook = include_str!("../../../docs/operations/install.md");
        for open_files in [256, 1024, 4096, 65_536] {
            let ConnectionLimits { clients, peers, http } = ConnectionLimits::of(open_files);
            let row = format!("| {open_files} | {clients} | {peers} | {http} |");
            assert!(runbook.contains(&row), "no row {row}");
        }
    }

    #[test]
    fn there_are_a_few_places_even_without_files() {
        assert_eq!(ConnectionLimits::of(0), ConnectionLimits { clients: 8, peers: 8, http: 8 });
    }
}
