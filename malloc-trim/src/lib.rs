//! Gives memory that was freed back to the operating system.
//!
//! glibc keeps what is freed between other things for later. Opening a storage replays LevelDB's logs, tens of MiB that
//! are not needed again, and a node that then idles would have them resident for ever. The only crate with unsafe code.

/// Gives back what is free. Takes some milliseconds, for which other threads may wait that allocate memory. Does nothing
/// where the C library is another one.
pub fn malloc_trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            #[link_name = "malloc_trim"]
            fn c_malloc_trim(pad: usize) -> core::ffi::c_int;
        }
        // SAFETY: it takes a number of bytes to keep, may be called by any thread at any time, and frees nothing that is in use.
        let _ = unsafe { c_malloc_trim(0) };
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    /// Resident memory of this process, in KiB.
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_lies_free_between_other_things_is_given_back() {
        const BLOCKS: usize = 64 * 1024;
        let mut blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|_| vec![1; 1024]).collect();
        // The last one keeps the C library from giving back all at once.
        blocks.drain(..BLOCKS - 1);
        let before = resident_kib();
        super::malloc_trim();
        let after = resident_kib();
        assert!(before > after + 32 * 1024, "{before} KiB before, {after} KiB after");
        assert_eq!(blocks[0][0], 1);
    }
}
