//! Embeds the built dashboard: the files that `target/web/dist/manifest.json` lists. Without a manifest the function
//! serves a page that says how to build the dashboard.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo passes the output folder in an environment variable"
)]

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=server/build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let manifests = out
        .ancestors()
        .map(|folder| folder.join("web/dist/manifest.json"));
    let manifest = manifests.clone().find(|path| path.exists());
    let site_source = if let Some(manifest) = &manifest {
        println!("cargo::rerun-if-changed={}", manifest.display());
        format!("Some({})", site_source_of(manifest)?)
    } else {
        println!(
            "cargo::warning=the dashboard is not built: its function will say how to build it"
        );
        // `<target>/<profile>/build/web-<hash>/out`
        for path in manifests.skip(4).take(1) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        "None".to_owned()
    };
    fs::write(
        out.join("site.rs"),
        format!("static SITE: Option<Site> = {site_source};\n"),
    )?;
    Ok(())
}

/// The Rust source of a `Site`. Its assets are sorted by path.
fn site_source_of(manifest: &Path) -> Result<String, Box<dyn Error>> {
    let folder = manifest.parent().ok_or("the manifest has no folder")?;
    let content: Value = serde_json::from_slice(&fs::read(manifest)?)?;
    let files = content["files"].as_array().ok_or("no files are listed")?;
    let mut files: Vec<&Value> = files.iter().collect();
    files.sort_by_key(|file| file["path"].as_str().map(str::to_owned));
    let mut document = None;
    let mut assets = String::new();
    for file in files {
        let text = |key: &str| file[key].as_str().ok_or(format!("a file has no {key}"));
        let bytes = |key: &str| -> Result<String, Box<dyn Error>> {
            let path = folder.join(text(key)?);
            let path = path.to_str().ok_or("a path is not UTF-8")?;
            Ok(format!("include_bytes!({path:?})"))
        };
        let asset = format!(
            "shared::api::dashboard::Asset {{ path: {:?}, content_type: {:?}, sha256: {:?}, plain: {}, brotli: {}, gzip: {} }}",
            text("path")?,
            text("type")?,
            text("sha256")?,
            bytes("file")?,
            bytes("br")?,
            bytes("gz")?
        );
        if text("path")? == "/" {
            document = Some(asset);
        } else {
            write!(assets, "{asset}, ")?;
        }
    }
    let document = document.ok_or("no file has the path /")?;
    let page_paths = content["pages"].as_array().ok_or("no pages are listed")?;
    let page_paths: Vec<&str> = page_paths.iter().filter_map(Value::as_str).collect();
    Ok(format!(
        "Site {{ page: {document}, assets: &[{assets}], pages: &{page_paths:?} }}"
    ))
}
