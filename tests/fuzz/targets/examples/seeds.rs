//! Writes the seed corpus: `cargo run --release -p fuzz-targets --example seeds` from the
//! repository's root. Seeds whose names start with `found-` came from a fuzzer and are left alone.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds");
    for (target, seeds) in fuzz_targets::seeds::all() {
        let dir = root.join(target);
        fs::create_dir_all(&dir)?;
        for old in fs::read_dir(&dir)? {
            let old = old?;
            if !old.file_name().to_string_lossy().starts_with("found-") {
                fs::remove_file(old.path())?;
            }
        }
        for (name, content) in seeds {
            fs::write(dir.join(name), content)?;
        }
    }
    Ok(())
}
