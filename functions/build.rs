//! Leaves the index of unwind tables out of release builds: a panic ends the process there, so nothing unwinds.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo passes the profile in the environment"
)]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
