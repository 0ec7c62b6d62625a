//! Which right a request needs, by its path.

use std::collections::HashMap;

use super::Right;

/// What a request needs before a service sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it tells nothing that is worth protecting.
    Nothing,
    /// To be of a principal, whatever that may do. For a method that checks what it is asked for by
    /// itself, as a stream of requests does.
    Known,
    /// This right.
    Right(Right),
}

/// What each path needs. What is not listed needs `otherwise`.
#[derive(Debug, Clone)]
pub(crate) struct NeedsOf {
    listed: HashMap<&'static str, Needs>,
    otherwise: Needs,
}

const ADMIN: Needs = Needs::Right(Right::Admin);
const READ: Needs = Needs::Right(Right::Read);
const WRITE: Needs = Needs::Right(Right::Write);

/// Of every node, on its port for clients. Status and health are what a client asks first.
const CLIENTS: [(&str, Needs); 14] = [
    ("/grpc.health.v1.Health/Check", Needs::Nothing),
    ("/grpc.health.v1.Health/List", Needs::Nothing),
    ("/grpc.health.v1.Health/Watch", Needs::Nothing),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Needs::Known),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Needs::Known),
    ("/node.v1.Cluster/Status", Needs::Known),
    ("/node.v1.Cluster/Health", Needs::Known),
    ("/node.v1.Cluster/Report", READ),
    ("/node.v1.Cluster/Init", ADMIN),
    ("/node.v1.Cluster/AddLearner", ADMIN),
    ("/node.v1.Cluster/ChangeMembership", ADMIN),
    ("/node.v1.Cluster/SetAddress", ADMIN),
    ("/node.v1.Cluster/TransferLeader", ADMIN),
    ("/node.v1.Cluster/Snapshot", ADMIN),
];

/// Of every node, over HTTP; the last ones of those that serve JSON.
const HTTP: [(&str, Needs); 12] = [
    ("/livez", Needs::Nothing),
    ("/readyz", Needs::Nothing),
    ("/", READ),
    ("/metrics", READ),
    ("/api/status", READ),
    ("/api/history", READ),
    ("/api/cluster", READ),
    ("/api/cluster/history", READ),
    ("/admin/status", READ),
    ("/admin/members", READ),
    ("/read", READ),
    ("/read-stale", READ),
];

impl NeedsOf {
    /// The methods of a node that serves, those of its application among them.
    pub(crate) fn clients(application: &[(&'static str, Needs)]) -> Self {
        // The application's cannot take the place of a node's own.
        let listed = application.iter().chain(&CLIENTS).copied().collect();
        Self { listed, otherwise: ADMIN }
    }

    /// The methods of a node without storage, which refuses those of its application whatever they
    /// are: clients that are known are told to ask another node.
    pub(crate) fn clients_of_faulty() -> Self {
        Self { listed: CLIENTS.into_iter().collect(), otherwise: Needs::Known }
    }

    /// The paths of HTTP.
    pub(crate) fn http() -> Self {
        let listed = HTTP.into_iter().chain([("/write", WRITE)]).collect();
        Self { listed, otherwise: ADMIN }
    }

    pub(super) fn of(&self, path: &str) -> Needs {
        self.listed.get(path).copied().unwrap_or(self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_needs_admin() {
        let clients = NeedsOf::clients(&[("/a.v1.A/Get", READ), ("/node.v1.Cluster/Init", Needs::Nothing)]);
        assert_eq!(clients.of("/a.v1.A/Get"), READ);
        assert_eq!(clients.of("/node.v1.Cluster/Init"), ADMIN);
        for path in ["/a.v1.A/Put", "/a.v1.A/Get/", "/", "", "/node.v1.Requests/Forward", "/metrics"] {
            assert_eq!(clients.of(path), ADMIN, "{path}");
        }
        let http = NeedsOf::http();
        for path in ["/livez/", "//livez", "/livez?x", "/admin/snapshot", "/admin/init", "/debug"] {
            assert_eq!(http.of(path), ADMIN, "{path}");
        }
        assert_eq!(NeedsOf::clients_of_faulty().of("/a.v1.A/Put"), Needs::Known);
    }
}
