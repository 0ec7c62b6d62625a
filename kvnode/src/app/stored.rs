//! Whether stored pairs are what this application writes. Called by `kvnode check`, for every pair.

use bytes::Bytes;

use super::keys::{self, Place};
use super::session::{self, Session};
use super::{PairRecord, Response};

/// Says what is wrong with a key and its value, in a state that has the entries up to `applied_index`.
pub(crate) fn check_stored(applied_index: u64, key: &[u8], value: &[u8]) -> Result<(), String> {
    match keys::place(key) {
        Some(Place::Pair) => {
            let pair = PairRecord::decode(Bytes::copy_from_slice(value)).map_err(|e| e.to_string())?;
            written_by(applied_index, pair.mod_revision)
        }
        Some(Place::Session(generation)) => {
            let session: Session = codec::decode(value).map_err(|e| e.to_string())?;
            if generation > session::generation(applied_index) {
                return Err(format!("a session of generation {generation}, which has not begun"));
            }
            match session.response {
                Response::Put { revision, .. } | Response::Delete { revision, .. } => {
                    written_by(applied_index, revision)
                }
                Response::Nothing | Response::SequenceTooLow { .. } => {
                    Err("a session that remembers the answer to no write".to_owned())
                }
            }
        }
        None => Err("neither a pair nor a session".to_owned()),
    }
}

fn written_by(applied_index: u64, revision: u64) -> Result<(), String> {
    if revision <= applied_index {
        return Ok(());
    }
    Err(format!("written by entry {revision}, but the last applied entry is {applied_index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(revision: u64) -> Vec<u8> {
        let response = Response::Put { revision, previous: None };
        codec::encode(&Session { sequence: 1, response }).unwrap()
    }

    #[test]
    fn what_the_application_writes_is_right() {
        let pair = PairRecord::created(7, Bytes::from_static(b"v")).encode();
        assert_eq!(check_stored(7, &keys::pair(b"k"), &pair), Ok(()));
        assert_eq!(check_stored(7, &keys::session(0, &[1; 16]), &session(7)), Ok(()));
    }

    #[test]
    fn everything_else_is_told() {
        let pair = PairRecord::created(7, Bytes::from_static(b"v")).encode();
        let nothing = codec::encode(&Session { sequence: 1, response: Response::Nothing }).unwrap();
        for (key, value, part) in [
            (keys::pair(b"k"), pair.clone(), "last applied entry is 6"),
            (keys::pair(b"k"), pair[..20].to_vec(), "too short"),
            (keys::pair(b""), pair.clone(), "neither"),
            (keys::session(0, &[1; 16])[..20].to_vec(), session(5), "neither"),
            (b"x".to_vec(), pair, "neither"),
            (keys::session(0, &[1; 16]), session(7), "last applied entry is 6"),
            (keys::session(1, &[1; 16]), session(5), "not begun"),
            (keys::session(0, &[1; 16]), vec![0xff; 3], "not a valid"),
            (keys::session(0, &[1; 16]), nothing, "no write"),
        ] {
            let reason = check_stored(6, &key, &value).unwrap_err();
            assert!(reason.contains(part), "no '{part}' in {reason}");
        }
    }
}
