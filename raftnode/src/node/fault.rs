//! What a storage fault means to the operator of this node.

use std::io;

use rustix::io::Errno;
use storage_leveldb::Fault;

/// What the system says when there is no room, on the disk or in the user's quota.
const NO_ROOM: [Errno; 2] = [Errno::NOSPC, Errno::DQUOT];

/// Whether there was no room to write, which loses nothing: what is on disk is good.
#[must_use]
pub(crate) fn is_disk_full(fault: &Fault) -> bool {
    // A fault keeps the system's words and not its number.
    NO_ROOM.iter().any(|errno| fault.reason.contains(&io::Error::from(*errno).to_string()))
}

/// File, reason and what to do, for the log, `/livez` and `/readyz`.
#[must_use]
pub(crate) fn explain(fault: &Fault) -> String {
    if is_disk_full(fault) {
        return format!(
            "disk full: {fault}; this node serves nothing until there is room and it is restarted"
        );
    }
    format!("{fault}; this node serves nothing until it is repaired and restarted, or replaced by a new one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(reason: impl Into<String>) -> Fault {
        Fault { path: "data/storage/log/000003.log".into(), reason: reason.into() }
    }

    /// The words as the storage puts them.
    #[test]
    fn a_full_disk_is_told_from_damage() {
        for number in [28, 122] {
            let full = fault(format!("cannot write: {}", io::Error::from_raw_os_error(number)));
            assert!(is_disk_full(&full) && explain(&full).starts_with("disk full: storage fault in data/"));
        }
        for reason in ["frame at 512 is damaged".to_owned(), io::Error::from_raw_os_error(5).to_string()] {
            assert!(!is_disk_full(&fault(reason)));
        }
    }
}
