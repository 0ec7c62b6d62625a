//! Runs every file of the seed corpus, and what fuzzing has found, through the fuzz targets. No
//! cargo-fuzz needed, so the targets cannot rot.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fuzz_targets::{TARGETS, seeds};

/// Panics of any thread, those that production code catches among them.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn files(target: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_seed_passes_its_target() {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        default_hook(info);
    }));
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        let files = files(name);
        assert!(files.len() >= 5, "{name} has {} seeds", files.len());
        for file in &files {
            let bytes = fs::read(file).unwrap();
            let before = PANICS.load(Ordering::SeqCst);
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            if outcome.is_err() || PANICS.load(Ordering::SeqCst) > before {
                failed.push(file.clone());
            }
        }
        println!("{name}: {} seeds", files.len());
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The corpus in the tree is what the documented command writes: a changed record changes it too.
#[test]
fn the_seeds_are_up_to_date() {
    for (target, seeds) in seeds::all() {
        assert!(TARGETS.iter().any(|(name, _)| *name == target), "{target}");
        let mut expected: Vec<String> = seeds.iter().map(|(name, _)| name.clone()).collect();
        for (name, content) in &seeds {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(target).join(name);
            let found = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(found == *content, "{} differs; see tests/fuzz/README.md", path.display());
        }
        expected.sort();
        let mut found: Vec<String> = files(target)
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        found.retain(|name| !name.starts_with("found-"));
        assert_eq!(found, expected, "{target}");
    }
}
