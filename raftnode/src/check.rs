//! Verifies what a node that is stopped has stored, and changes nothing in it.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use storage_leveldb::check::{Progress, Report};
use storage_leveldb::{Options, StorageError};

use crate::application::{Application, Hosted, Meta, Place, Session, Typed, generation};
use crate::raft::TypeConfig;

/// Says what is wrong with one pair of the application, if anything is. Gets the key and the value,
/// in the order of the keys.
pub type PairCheck<'a> = &'a dyn Fn(&[u8], &[u8]) -> Result<(), String>;

/// Verifies the storage in `dir`: every file, and then what is in them. Blocks for as long as
/// reading everything takes.
///
/// `has_stored`: the node has stored something here, so nothing at all would be wrong. `progress`
/// is called now and then.
///
/// # Errors
/// [`StorageError::Busy`] if a process has the directory open, a fault if there is no such
/// directory or it cannot be listed. Whatever is wrong inside it goes to the report.
pub fn check_storage<A: Application>(
    dir: &Path,
    has_stored: bool,
    application: A,
    pair_check: PairCheck<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, StorageError> {
    let options = Options { must_exist: has_stored, ..Options::default() };
    let hosted = Hosted::new(Arc::new(Typed(Arc::new(application))));
    let position = Cell::new(0);
    let check = |_applied: u64, key: &[u8], value: &[u8]| check_stored(&position, pair_check, key, value);
    storage_leveldb::check::check::<TypeConfig, _>(dir, options, hosted, &check, progress)
}

/// Keys come in their order, so what says how far the application is comes before the sessions.
fn check_stored(
    position: &Cell<u64>,
    pair_check: PairCheck<'_>,
    key: &[u8],
    value: &[u8],
) -> Result<(), String> {
    match Place::of(key) {
        Some(Place::Application(key)) => pair_check(key, value),
        Some(Place::Meta) => {
            let meta = Meta::decode(value).ok_or("how far the application is cannot be read")?;
            position.set(meta.position);
            Ok(())
        }
        Some(Place::Session(found)) => {
            let session: Session = codec::decode(value).map_err(|e| e.to_string())?;
            match (session.sequence, found > generation(position.get())) {
                (0, _) => Err("a session that remembers no write".to_owned()),
                (_, true) => Err(format!("a session of generation {found}, which has not begun")),
                _ => Ok(()),
            }
        }
        None => Err("neither a pair nor a session".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::application::{ClusterTime, GENERATION_COMMANDS, meta_key, session_key};

    #[test]
    fn what_a_node_stores_is_told_from_everything_else() {
        let position = Cell::new(0);
        let check = |key: &[u8], value: &[u8]| {
            let pairs: PairCheck<'_> = &|key, _| if key == b"good" { Ok(()) } else { Err("bad".to_owned()) };
            check_stored(&position, pairs, key, value)
        };
        let meta = Meta { position: GENERATION_COMMANDS, time: ClusterTime::default(), schema: 0 }.encode();
        let session = |sequence| codec::encode(&Session { sequence, response: Bytes::new() }).unwrap();
        check(b"agood", b"").unwrap();
        assert_eq!(check(b"another", b""), Err("bad".to_owned()));
        assert!(check(&session_key(1), &session(1)).unwrap_err().contains("not begun"));
        check(&meta_key(), &meta).unwrap();
        check(&session_key(1), &session(1)).unwrap();
        for (key, value, part) in [
            (meta_key(), meta[1..].to_vec(), "cannot be read"),
            (session_key(2), session(1), "not begun"),
            (session_key(1), session(0), "no write"),
            (session_key(1), vec![0xff; 3], "not a valid"),
            (session_key(1)[..20].to_vec(), session(1), "neither"),
            (b"x".to_vec(), Vec::new(), "neither"),
        ] {
            let reason = check(&key, &value).unwrap_err();
            assert!(reason.contains(part), "no '{part}' in {reason}");
        }
    }
}
