//! The shapes of JSON answers that more than one command writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvcli::wire::{Member, Pair, VoterChange};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// One pair. Bytes that are UTF-8 stand under `key` and `value`, others in base64 under
/// `key_base64` and `value_base64`; one of the two is always there.
#[derive(Debug)]
pub(crate) struct JsonPair<'a> {
    pub(crate) pair: &'a Pair,
    pub(crate) keys_only: bool,
}

impl Serialize for JsonPair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        bytes_entry(&mut map, "key", "key_base64", &self.pair.key)?;
        if !self.keys_only {
            bytes_entry(&mut map, "value", "value_base64", &self.pair.value)?;
        }
        map.serialize_entry("create_revision", &self.pair.create_revision)?;
        map.serialize_entry("mod_revision", &self.pair.mod_revision)?;
        map.serialize_entry("version", &self.pair.version)?;
        map.end()
    }
}

fn bytes_entry<M: serde::ser::SerializeMap>(
    map: &mut M,
    text_name: &'static str,
    base64_name: &'static str,
    bytes: &[u8],
) -> Result<(), M::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.serialize_entry(text_name, text),
        Err(_) => map.serialize_entry(base64_name, &STANDARD.encode(bytes)),
    }
}

/// One member of the cluster.
#[derive(Debug, Serialize)]
pub(crate) struct JsonMember<'a> {
    id: u64,
    voter: bool,
    change: Option<&'static str>,
    client_addr: &'a str,
    raft_addr: &'a str,
    incarnation: Option<&'a str>,
}

/// What the change of the membership that is under way makes of a member.
pub(crate) fn change(member: &Member) -> Option<&'static str> {
    match member.change() {
        VoterChange::Joining => Some("joining"),
        VoterChange::Leaving => Some("leaving"),
        VoterChange::Unspecified => None,
    }
}

/// All `members`.
pub(crate) fn members(members: &[Member]) -> Vec<JsonMember<'_>> {
    members
        .iter()
        .map(|m| JsonMember {
            id: m.id,
            voter: m.voter,
            change: change(m),
            client_addr: &m.client_addr,
            raft_addr: &m.raft_addr,
            incarnation: Some(m.incarnation.as_str()).filter(|incarnation| !incarnation.is_empty()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_as_text_and_the_rest_as_base64() {
        let pair = Pair {
            key: "ä\n".into(),
            value: vec![0xff, 0x00].into(),
            create_revision: 1,
            mod_revision: 2,
            version: 3,
        };
        let with = |keys_only| serde_json::to_string(&JsonPair { pair: &pair, keys_only }).unwrap();
        assert_eq!(
            with(false),
            r#"{"key":"ä\n","value_base64":"/wA=","create_revision":1,"mod_revision":2,"version":3}"#
        );
        assert_eq!(with(true), r#"{"key":"ä\n","create_revision":1,"mod_revision":2,"version":3}"#);
    }
}
