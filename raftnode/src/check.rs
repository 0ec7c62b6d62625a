//! Verifies what a node that is stopped has stored, and changes nothing in it.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use storage_leveldb::check::{Problem, ProblemKind, Progress, Report};
use storage_leveldb::{Options, StorageError};

use crate::application::{Application, Hosted, Meta, Place, Session, Typed, generation};
use crate::raft::TypeConfig;

/// What an application knows of its own pairs.
pub trait PairCheck {
    /// Looks at the next pair, in the order of the keys.
    ///
    /// # Errors
    /// What is wrong with it.
    fn pair(&self, key: &[u8], value: &[u8]) -> Result<(), String>;

    /// There are no more.
    ///
    /// # Errors
    /// What is missing.
    fn end(&self) -> Result<(), String>;
}

/// Where the state is kept.
const STATE: &str = "state";

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
    pairs: &dyn PairCheck,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, StorageError> {
    let mut options = Options::default();
    options.must_exist = has_stored;
    let hosted = Hosted::new(Arc::new(Typed(Arc::new(application))));
    let stored = Stored { pairs, position: Cell::new(None), has_pairs: Cell::new(false) };
    let check = |_applied: u64, key: &[u8], value: &[u8]| stored.check(key, value);
    let mut report = storage_leveldb::check::check::<TypeConfig, _>(dir, options, hosted, &check, progress)?;
    // What is missing can be told only where all was read.
    if report.is_well() && report.state.is_some() {
        let missing = [stored.end(), pairs.end()].into_iter().filter_map(Result::err);
        report.problems.extend(missing.map(|reason| {
            let path = dir.join(STATE);
            Problem { path, kind: ProblemKind::Damaged, reason }
        }));
    }
    Ok(report)
}

/// What was found so far, in the order of the keys.
struct Stored<'a> {
    pairs: &'a dyn PairCheck,
    /// How far the application is, once that was found.
    position: Cell<Option<u64>>,
    has_pairs: Cell<bool>,
}

impl Stored<'_> {
    /// The pairs come first, then how far the application is, then the sessions.
    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match Place::of(key) {
            Some(Place::Application(key)) => {
                self.has_pairs.set(true);
                self.pairs.pair(key, value)
            }
            Some(Place::Meta) => {
                let meta = Meta::decode(value).ok_or("how far the application is cannot be read")?;
                self.position.set(Some(meta.position));
                Ok(())
            }
            Some(Place::Session(found)) => {
                self.has_pairs.set(true);
                let session: Session = codec::decode(value).map_err(|e| e.to_string())?;
                let not_begun = self.position.get().is_some_and(|position| found > generation(position));
                match (session.sequence, not_begun) {
                    (0, _) => Err("a session that remembers no write".to_owned()),
                    (_, true) => Err(format!("a session of generation {found}, which has not begun")),
                    _ => Ok(()),
                }
            }
            None => Err("neither a pair nor a session".to_owned()),
        }
    }

    fn end(&self) -> Result<(), String> {
        match self.position.get() {
            None if self.has_pairs.get() => {
                Err("the record of how far the application is is missing, although there are pairs"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::application::{GENERATION_COMMANDS, meta_key, session_key};

    struct OnlyGood;

    impl PairCheck for OnlyGood {
        fn pair(&self, key: &[u8], _value: &[u8]) -> Result<(), String> {
            if key == b"good" { Ok(()) } else { Err("bad".to_owned()) }
        }

        fn end(&self) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn what_a_node_stores_is_told_from_everything_else() {
        let stored = Stored { pairs: &OnlyGood, position: Cell::new(None), has_pairs: Cell::new(false) };
        let check = |key: &[u8], value: &[u8]| stored.check(key, value);
        let meta = Meta { position: GENERATION_COMMANDS, ..Meta::default() }.encode();
        let session = |sequence| codec::encode(&Session { sequence, response: Bytes::new() }).unwrap();
        check(b"agood", b"").unwrap();
        assert_eq!(check(b"another", b""), Err("bad".to_owned()));
        assert!(stored.end().unwrap_err().contains("is missing"));
        check(&meta_key(), &meta).unwrap();
        stored.end().unwrap();
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
