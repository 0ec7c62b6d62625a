//! Whether a new node asks a cluster to take it in.

use super::{Address, Peers};
use crate::raft::Member;

/// Most members that a new node asks.
const MAX_ASKED: usize = 64;

/// The cluster that a new node joins. None: the node founds one, or waits to be added.
///
/// Has no effect on a node that belongs to a cluster, so that a command line can stay as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "args", derive(clap::Args))]
pub struct JoinOptions {
    /// A new node joins the cluster of the member whose port for clients this is; several with
    /// commas. Where there is an --auth-file, this node's certificate needs the right `admin`, or
    /// an administrator adds the node
    #[cfg_attr(
        feature = "args",
        arg(long = "join", env = "NODE_JOIN", value_name = "HOST:PORT,…", value_delimiter = ',')
    )]
    pub members: Vec<Address>,
    /// With --join: become a voter once caught up, not only a learner
    #[cfg_attr(feature = "args", arg(long, env = "NODE_VOTER"))]
    pub voter: bool,
}

/// Options about joining that do not go together, or with others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinOptionsError {
    /// There is nothing to vote in.
    #[error("--voter is given without --join; leave it out, or name a member with --join")]
    NothingToJoin,
    /// One cluster or a new one.
    #[error(
        "--join and --peers are given: --peers is for a new cluster, --join for one that runs; leave one of them out"
    )]
    WithPeers,
    /// It cannot let itself in.
    #[error("--join names {0}, where this node itself serves; name another node, a member of the cluster")]
    Itself(Address),
    /// Nothing can be there.
    #[error("--join names {0}, which cannot be dialled; give the address at which clients reach a member")]
    Undialable(Address),
    /// A mistake.
    #[error("--join names {0} addresses; at most {MAX_ASKED} are asked")]
    TooMany(usize),
}

impl JoinOptions {
    /// Whether this node was told to join a cluster.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.members.is_empty()
    }

    /// Everything that does not go together, for a node that is reached at `own`. A list that is
    /// the same for all nodes may have its address beside others.
    #[must_use]
    pub fn problems(&self, own: &Member, peers: Option<&Peers>) -> Vec<JoinOptionsError> {
        let Self { members, voter } = self;
        let mut problems = Vec::new();
        if *voter && members.is_empty() {
            problems.push(JoinOptionsError::NothingToJoin);
        }
        if peers.is_some() && !members.is_empty() {
            problems.push(JoinOptionsError::WithPeers);
        }
        if members.len() > MAX_ASKED {
            problems.push(JoinOptionsError::TooMany(members.len()));
        }
        let undialable = members.iter().filter(|member| member.is_undialable()).cloned();
        problems.extend(undialable.map(JoinOptionsError::Undialable));
        if members.iter().all(|member| is_of(own, member))
            && let Some(itself) = members.first()
        {
            problems.push(JoinOptionsError::Itself(itself.clone()));
        }
        problems
    }

    /// Whom a node that is reached at `own` asks, in order.
    pub(crate) fn others(&self, own: &Member) -> Vec<String> {
        self.members.iter().filter(|member| !is_of(own, member)).map(ToString::to_string).collect()
    }
}

fn is_of(own: &Member, address: &Address) -> bool {
    let address = address.to_string();
    address == own.client_addr || address == own.raft_addr
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(members: &str, voter: bool) -> JoinOptions {
        let members = members.split(',').filter(|text| !text.is_empty());
        JoinOptions { members: members.map(|text| text.parse().unwrap()).collect(), voter }
    }

    #[test]
    fn options_that_cannot_work_are_named() {
        use JoinOptionsError::{Itself, NothingToJoin, TooMany, Undialable, WithPeers};
        let own = Member::at("a:2", "a:1");
        let peers: Peers = "1=a:2/a:1".parse().unwrap();
        let problems = |join: &JoinOptions, peers| join.problems(&own, peers);
        let address = |text: &str| text.parse().unwrap();
        assert_eq!(problems(&join("", false), Some(&peers)), []);
        assert_eq!(problems(&join("b:1", true), None), []);
        assert_eq!(problems(&join("a:1,b:1", false), None), [], "the same list for all nodes");
        assert_eq!(problems(&join("", true), None), [NothingToJoin]);
        assert_eq!(problems(&join("b:1", false), Some(&peers)), [WithPeers]);
        assert_eq!(problems(&join("a:1,a:2", false), None), [Itself(address("a:1"))]);
        assert_eq!(problems(&join("0.0.0.0:1,b:0", false), None).len(), 2);
        assert_eq!(problems(&join("b:0", false), None), [Undialable(address("b:0"))]);
        let many = vec!["b:1"; MAX_ASKED + 1].join(",");
        assert_eq!(problems(&join(&many, false), None), [TooMany(MAX_ASKED + 1)]);
    }

    #[test]
    fn a_node_does_not_ask_itself() {
        let own = Member::at("a:2", "a:1");
        assert_eq!(join("a:1,b:1,a:2,c:1", false).others(&own), ["b:1", "c:1"]);
    }
}
