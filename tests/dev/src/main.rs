//! `cargo dev`: see `dev::command`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match dev::command::main(std::env::args_os().skip(1)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}
