//! Prints the public interface of a library: a line for each item, sorted, so that what is
//! published can be compared. The argument is what rustdoc says of the library, a JSON file.
//! `.ci/api` makes that file and compares what is printed with `docs/api`.

use anyhow::{Context as _, Result};
use public_api::Builder;

fn main() -> Result<()> {
    let file = std::env::args_os().nth(1).context("the argument is missing: a JSON file of rustdoc")?;
    // What every type has anyway, whatever its author writes.
    let builder = Builder::from_rustdoc_json(file).omit_blanket_impls(true).omit_auto_trait_impls(true);
    let interface = builder.build().context("not the JSON that rustdoc writes with this Rust")?;
    print!("{interface}");
    Ok(())
}
