//! Rebuilds the library when a migration is added, because migrations are compiled in. Makes the JSON of the API's
//! description from `openapi.yaml`.

use std::path::PathBuf;
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../migrations");
    println!("cargo:rerun-if-changed=src/api/openapi.yaml");
    let text = fs::read_to_string("src/api/openapi.yaml")?;
    let document: serde_json::Value = serde_norway::from_str(&text)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("openapi.json"), document.to_string())?;
    Ok(())
}
