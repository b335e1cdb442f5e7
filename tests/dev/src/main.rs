//! `cargo dev`: see `dev::command`.

use std::process::ExitCode;

use clap::Parser;
use dev::command::{self, Options};

#[tokio::main]
async fn main() -> ExitCode {
    match command::main(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}
