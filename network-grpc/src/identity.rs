//! Who a node is: its id, the cluster it belongs to, and which of all data directories is its own.
//!
//! Every request names all three of its receiver, and the receiver refuses what is not meant for it
//! before it has any effect. A wrong address then costs an error and not data.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

/// 128 random bits, shown as 32 hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// From 128 bits that were drawn somewhere else.
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The 128 bits.
            #[must_use]
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// The 16 bytes that travel.
            #[must_use]
            pub fn to_bytes(self) -> bytes::Bytes {
                bytes::Bytes::copy_from_slice(&self.0.to_be_bytes())
            }

            /// From the 16 bytes that travel; `None` if there are not 16.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            /// Exactly 32 hexadecimal digits in lower case.
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if text.len() != 32 || !text.bytes().all(digits) {
                    return Err(NotAnId);
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| NotAnId)
            }
        }
    };
}

random_id! {
    /// The identity of a cluster: drawn when it is founded, never changed, never chosen by a
    /// person.
    ClusterId
}

random_id! {
    /// Which data directory a member is. It is given when the member joins and stored on its disk;
    /// a directory that was wiped or copied has another one, or none. A later one of the same node
    /// id is greater.
    Incarnation
}

/// Not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits (0-9, a-f)")]
pub struct NotAnId;

impl ClusterId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl Incarnation {
    /// A new one that is greater than all that were made at a smaller `since`: the index of the
    /// leader's last log entry.
    #[must_use]
    pub fn random(since: u64) -> Self {
        Self((u128::from(since) << 64) | u128::from(rand::random::<u64>()))
    }

    /// What [`random`](Self::random) was given: 0 for the first members of a cluster.
    #[must_use]
    pub fn since(self) -> u64 {
        // The upper half, which fits.
        (self.0 >> 64) as u64
    }
}

/// What makes a node a member of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberIdentity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Which data directory this is. `None` in an application whose members have no incarnations;
    /// it must then itself keep a wiped member from voting.
    pub incarnation: Option<Incarnation>,
}

/// This node. Cheap to clone; clones are the same node.
///
/// Invariant: a node that belongs to a cluster belongs to it for ever.
#[derive(Debug, Clone)]
pub struct LocalIdentity<I> {
    node_id: I,
    member: Arc<OnceLock<MemberIdentity>>,
}

impl<I> LocalIdentity<I> {
    /// A node that belongs to no cluster yet. Until it [joins](Self::join) one it sends nothing to
    /// peers and refuses all that they send.
    #[must_use]
    pub fn without_cluster(node_id: I) -> Self {
        Self { node_id, member: Arc::default() }
    }

    /// A member of a cluster.
    #[must_use]
    pub fn member_of(node_id: I, member: MemberIdentity) -> Self {
        Self { node_id, member: Arc::new(OnceLock::from(member)) }
    }

    /// This node's id.
    pub fn node_id(&self) -> &I {
        &self.node_id
    }

    /// What makes it a member, once something does.
    #[must_use]
    pub fn member(&self) -> Option<MemberIdentity> {
        self.member.get().copied()
    }

    /// It belongs to this cluster from now on. The caller has stored that durably before.
    ///
    /// # Errors
    /// It belongs to another one, or has another incarnation: what it has.
    pub fn join(&self, member: MemberIdentity) -> Result<(), MemberIdentity> {
        let has = *self.member.get_or_init(|| member);
        if has == member { Ok(()) } else { Err(has) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_bytes_and_nothing_else_is_one() {
        let id = ClusterId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(ClusterId::from_bytes(&id.to_bytes()), Some(id));
        assert_eq!(ClusterId::from_bits(7).to_string(), format!("{:0>32}", 7));
        for text in ["", "kv", "+1", &"A".repeat(32), &"0".repeat(31), &"é".repeat(16)] {
            assert_eq!(text.parse::<ClusterId>(), Err(NotAnId), "{text}");
        }
        for bytes in [&[][..], &[0; 15], &[0; 17]] {
            assert_eq!(Incarnation::from_bytes(bytes), None);
        }
    }

    #[test]
    fn a_later_incarnation_is_greater() {
        assert!(Incarnation::random(8) > Incarnation::random(7));
        assert_eq!([0, 7, u64::MAX].map(|since| Incarnation::random(since).since()), [0, 7, u64::MAX]);
        assert_ne!(Incarnation::random(7), Incarnation::random(7));
    }

    #[test]
    fn a_node_never_changes_its_cluster() {
        let member = |bits| MemberIdentity { cluster_id: ClusterId::from_bits(bits), incarnation: None };
        let node = LocalIdentity::without_cluster(1_u64);
        let clone = node.clone();
        assert_eq!(clone.member(), None);
        node.join(member(1)).unwrap();
        node.join(member(1)).unwrap();
        assert_eq!(node.join(member(2)), Err(member(1)));
        assert_eq!(clone.member(), Some(member(1)));
    }
}
