//! Writes the derived files. `cargo prepare` runs it.

use std::fs;

use anyhow::{Context, Result};
use dev::build::workspace;

fn main() -> Result<()> {
    for (path, text) in tests::derived::files()? {
        let file = workspace().join(&path);
        if fs::read_to_string(&file).is_ok_and(|old| old == text) {
            continue;
        }
        fs::write(&file, text).with_context(|| format!("cannot write {path}"))?;
        println!("{path} is derived anew");
    }
    Ok(())
}
