//! `cargo api-check`: see `dev::api_check`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match dev::api_check::main(std::env::args_os().skip(1)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo api-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}
