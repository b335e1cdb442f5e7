//! `cargo api-check`: see `dev::api_check`.

use std::process::ExitCode;

use clap::Parser;
use dev::api_check::{self, Options};

#[tokio::main]
async fn main() -> ExitCode {
    match api_check::main(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo api-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}
