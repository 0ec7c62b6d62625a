//! The peer list: `1=RAFT/CLIENT,2=RAFT/CLIENT,…`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use super::{Address, AddressError};
use crate::raft::{Member, NodeId};

/// Most nodes in a peer list. A voter more costs every write another copy; hundreds are a mistake.
const MAX_PEERS: usize = 64;

/// The nodes of a cluster when it is formed, by id.
///
/// Invariants: not empty, at most 64 nodes, no id 0, no address twice, every address dialable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers(BTreeMap<NodeId, Member>);

/// A peer list does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeersError {
    /// Not `ID=RAFT/CLIENT`.
    #[error("'{0}' is not ID=RAFT_ADDR/CLIENT_ADDR, for example 1=10.0.0.1:7001/10.0.0.1:6001")]
    Shape(String),
    /// The id is no positive number.
    #[error("'{0}' is not a node id: a number from 1 up")]
    Id(String),
    /// One of the addresses is malformed.
    #[error("node {0}: {1}")]
    Address(NodeId, #[source] AddressError),
    /// One of the addresses cannot be dialled.
    #[error("node {0}: nobody can dial {1}; give an address that the other nodes can reach")]
    Undialable(NodeId, Address),
    /// Two entries for one node.
    #[error("node {0} is listed twice")]
    DuplicateId(NodeId),
    /// One address for two listeners.
    #[error("the address {0} is listed twice")]
    DuplicateAddress(String),
    /// Nothing in the list.
    #[error("the list is empty")]
    Empty,
    /// Too many nodes.
    #[error("{0} nodes are too many; at most {MAX_PEERS}")]
    TooMany(usize),
}

impl Peers {
    /// The addresses of a node.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        self.0.get(&id)
    }

    /// All nodes in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.0.iter().map(|(id, member)| (*id, member))
    }

    fn check(&self) -> Result<(), PeersError> {
        match self.0.len() {
            0 => return Err(PeersError::Empty),
            count if count > MAX_PEERS => return Err(PeersError::TooMany(count)),
            _ => {}
        }
        let mut addresses: Vec<_> = self.0.values().flat_map(|m| [&m.raft_addr, &m.client_addr]).collect();
        addresses.sort_unstable();
        match addresses.array_windows().find(|[a, b]| a == b) {
            Some([twice, _]) => Err(PeersError::DuplicateAddress((*twice).clone())),
            None => Ok(()),
        }
    }
}

impl FromStr for Peers {
    type Err = PeersError;

    fn from_str(text: &str) -> Result<Self, PeersError> {
        let mut peers = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (id, member) = parse_entry(entry)?;
            match peers.entry(id) {
                Entry::Vacant(vacant) => vacant.insert(member),
                Entry::Occupied(_) => return Err(PeersError::DuplicateId(id)),
            };
        }
        let peers = Self(peers);
        peers.check().map(|()| peers)
    }
}

fn parse_entry(entry: &str) -> Result<(NodeId, Member), PeersError> {
    let shape = || PeersError::Shape(entry.to_owned());
    let (id, addresses) = entry.split_once('=').ok_or_else(shape)?;
    let (raft, client) = addresses.split_once('/').ok_or_else(shape)?;
    let id = match id.trim().parse() {
        Ok(0) | Err(_) => return Err(PeersError::Id(id.to_owned())),
        Ok(id) => id,
    };
    Ok((id, Member::at(parse_address(id, raft)?, parse_address(id, client)?)))
}

fn parse_address(id: NodeId, text: &str) -> Result<String, PeersError> {
    let address: Address = text.trim().parse().map_err(|e| PeersError::Address(id, e))?;
    if address.is_undialable() {
        return Err(PeersError::Undialable(id, address));
    }
    Ok(address.to_string())
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (id, member)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{id}={member}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_sorts_and_prints() {
        let peers: Peers = "2=b:1/b:2, 1=a:1/a:2,".parse().unwrap();
        assert_eq!(peers.to_string(), "1=a:1/a:2,2=b:1/b:2");
        assert_eq!(peers.get(2).unwrap().client_addr, "b:2");
    }

    #[test]
    fn complains_clearly() {
        for (text, part) in [
            ("", "empty"),
            ("1", "ID=RAFT_ADDR/CLIENT_ADDR"),
            ("1=a:1", "ID=RAFT_ADDR/CLIENT_ADDR"),
            ("0=a:1/a:2", "node id"),
            ("x=a:1/a:2", "node id"),
            ("1=a/a:2", "node 1"),
            ("1=a:0/a:2", "nobody can dial"),
            ("1=0.0.0.0:1/a:2", "nobody can dial"),
            ("1=a:1/a:2,1=b:1/b:2", "node 1 is listed twice"),
            ("1=a:1/a:1", "a:1 is listed twice"),
            ("1=a:1/a:2,2=a:1/b:2", "a:1 is listed twice"),
        ] {
            let error = text.parse::<Peers>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
