//! The name by which nodes know each other.

use std::fmt;
use std::str::FromStr;

use crate::raft::NodeId;

const SCHEME: &str = "raft://";
const NODE: &str = "/node/";

/// `raft://CLUSTER/node/ID`: a URI among the subject's alternative names of a certificate.
/// `CLUSTER` is what the nodes have for `--cluster-name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeName {
    pub(super) cluster: String,
    pub(super) id: NodeId,
}

/// Text is not the name of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotANodeName;

impl FromStr for NodeName {
    type Err = NotANodeName;

    fn from_str(text: &str) -> Result<Self, NotANodeName> {
        let rest = text.strip_prefix(SCHEME).ok_or(NotANodeName)?;
        let (cluster, id) = rest.split_once(NODE).ok_or(NotANodeName)?;
        let name = Self { cluster: cluster.to_owned(), id: id.parse().map_err(|_| NotANodeName)? };
        // One node has one name: `+7` and `07` are none.
        if name.cluster.is_empty() || name.to_string() != text { Err(NotANodeName) } else { Ok(name) }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{NODE}{}", self.cluster, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_name() {
        let name = NodeName { cluster: "kv".to_owned(), id: 7 };
        assert_eq!((name.to_string().as_str(), "raft://kv/node/7".parse()), ("raft://kv/node/7", Ok(name)));
        for text in [
            "",
            "raft://kv/node/",
            "raft:///node/7",
            "raft://kv/node/07",
            "raft://kv/node/+7",
            "http://kv/node/7",
        ] {
            assert_eq!(text.parse::<NodeName>(), Err(NotANodeName), "{text}");
        }
    }
}
