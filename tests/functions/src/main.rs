//! All functions but the dashboard's in one binary. It runs the function that has the name by which it is started;
//! `dev::build` makes a link with each name. Debug builds use it because a binary per function would take two seconds
//! and 60 MB each. What is deployed is built from the same files, one binary each.

use std::ffi::OsStr;
use std::path::Path;

type Main = fn() -> Result<(), shared::lambda::Error>;

include!(concat!(env!("OUT_DIR"), "/functions.rs"));

fn main() -> Result<(), shared::lambda::Error> {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    let function = FUNCTIONS
        .iter()
        .find(|(known, _)| OsStr::new(known) == name);
    let Some((_, run)) = function else {
        return Err(format!("there is no function {}", name.display()).into());
    };
    run()
}
