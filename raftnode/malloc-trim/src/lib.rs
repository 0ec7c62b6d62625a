//! Keeps what the C library holds of freed memory small.
//!
//! glibc keeps what is freed between other things for later. Opening a storage replays LevelDB's
//! logs, tens of MiB that are not needed again, and a node that then idles would have them resident
//! for ever. The only crate with unsafe code.

/// Gives back what is free. Takes some milliseconds, for which other threads may wait that allocate
/// memory. Does nothing where the C library is another one.
pub fn malloc_trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            #[link_name = "malloc_trim"]
            fn c_malloc_trim(pad: usize) -> core::ffi::c_int;
        }
        // SAFETY: it takes a number of bytes to keep, may be called by any thread at any time, and
        // frees nothing that is in use.
        let _ = unsafe { c_malloc_trim(0) };
    }
}

/// With fewer, threads wait for each other: with one, the thread that applies waits for 60 ms while
/// the memory of a memtable is given back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_PER_PROCESSOR: usize = 2;

/// Lets all threads together allocate from two arenas for each processor, and no more. To be called
/// before threads are started. Does nothing where the C library is another one.
///
/// glibc makes up to eight for each processor, and each keeps what was once allocated from it and
/// freed.
pub fn limit_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_ARENA_MAX: core::ffi::c_int = -8;
        unsafe extern "C" {
            fn mallopt(param: core::ffi::c_int, value: core::ffi::c_int) -> core::ffi::c_int;
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let arenas = core::ffi::c_int::try_from(ARENAS_PER_PROCESSOR.saturating_mul(processors))
            .unwrap_or(core::ffi::c_int::MAX);
        // SAFETY: it takes two numbers and may be called at any time. It refuses values that it
        // does not know, which does no harm.
        let _ = unsafe { mallopt(M_ARENA_MAX, arenas) };
    }
}

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    /// Resident memory of this process, in KiB.
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Memory that threads have taken for themselves, in arenas' heaps of 64 MiB, each of which
    /// begins at a multiple of that.
    fn heaps() -> usize {
        const HEAP_BYTES: usize = 64 << 20;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let start = |line: &str| usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let anonymous =
            maps.lines().filter(|line| line.ends_with(" 0 ") || line.split_whitespace().count() == 5);
        anonymous.filter(|line| start(line).is_multiple_of(HEAP_BYTES)).count()
    }

    #[test]
    fn threads_share_arenas() {
        super::limit_arenas();
        let processors = std::thread::available_parallelism().unwrap().get();
        let barrier = std::sync::Barrier::new(8 * processors + 1);
        std::thread::scope(|scope| {
            for _ in 0..8 * processors {
                scope.spawn(|| {
                    let memory = vec![1_u8; 1000];
                    barrier.wait();
                    barrier.wait();
                    drop(memory);
                });
            }
            barrier.wait();
            let found = heaps();
            barrier.wait();
            // Threads of the tests themselves may have had some before.
            assert!(
                found <= super::ARENAS_PER_PROCESSOR * processors + 4,
                "{found} heaps for {} threads",
                8 * processors
            );
        });
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
