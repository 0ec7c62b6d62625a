//! What a storage fault means to the operator of this node.

use storage_leveldb::Fault;
use storage_leveldb::health::FaultKind;

/// Whether there was no room to write, which loses nothing: what is on disk is good.
#[must_use]
pub(crate) fn is_disk_full(fault: &Fault) -> bool {
    fault.kind == FaultKind::NoSpace
}

/// File, reason and what to do, for the log, `/livez` and `/readyz`.
#[must_use]
pub(crate) fn explain(fault: &Fault) -> String {
    if is_disk_full(fault) {
        return format!(
            "disk full: {fault}; this node serves nothing until there is room and it is restarted"
        );
    }
    if fault.kind == FaultKind::Application {
        // A new node would apply the same entries.
        return format!(
            "{fault}; this node serves nothing until it is restarted with a program that can go on from here"
        );
    }
    format!("{fault}; this node serves nothing until it is repaired and restarted, or replaced by a new one")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_damage() {
        let failed = |number| Fault::io("write", "data/000003.log", io::Error::from_raw_os_error(number));
        for number in [28, 122] {
            let full = failed(number);
            assert!(is_disk_full(&full) && explain(&full).starts_with("disk full: storage fault in data/"));
        }
        assert!(!is_disk_full(&failed(5)));
        let careless = Fault::application("data/state", "the application panicked");
        assert!(explain(&careless).ends_with("with a program that can go on from here"));
        assert!(!is_disk_full(&Fault::corrupt("data/000003.log", "frame at 512 is damaged")));
    }
}
