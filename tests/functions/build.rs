//! Writes a module per function, with the text of its file in `functions/src/bin/`, and the table of their names.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

/// Relative to this package, in which cargo runs its build script.
const FOLDER: &str = "../../functions/src/bin";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FOLDER}");
    let mut names = Vec::new();
    for entry in fs::read_dir(FOLDER)? {
        let file = entry?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".rs"));
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    let (mut modules, mut table) = (String::new(), String::new());
    for name in &names {
        let text = fs::read_to_string(format!("{FOLDER}/{name}.rs"))?;
        let module = name.replace('-', "_");
        // `main` is private to the module.
        let run = "pub(super) fn run() -> Result<(), ::shared::lambda::Error> { main() }";
        writeln!(modules, "mod {module} {{\n{text}\n{run}\n}}\n")?;
        writeln!(table, "    ({name:?}, {module}::run),")?;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(
        out.join("functions.rs"),
        format!("{modules}const FUNCTIONS: &[(&str, Main)] = &[\n{table}];\n"),
    )?;
    Ok(())
}
