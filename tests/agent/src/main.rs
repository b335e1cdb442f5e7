//! A sample agent for tests and the local stack. It speaks the HTTP of an agent on its two ports, keeps
//! its state below `/app/data`, and misbehaves when `SAMPLE_FAULT` says so; see `fault`.
//!
//! `agent check` asks the agent of the same container for its health and ends with 0 or 1; it is what a
//! Docker health check may run in an image that has no other program.

#![expect(
    clippy::disallowed_methods,
    reason = "an agent is a program of its own and looks at the clock"
)]

mod bridge;
mod fault;
mod state;
mod web;

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use fault::Fault;
use state::Store;
use web::Agent;

const DATA: &str = "/app/data";

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = if env::args_os().nth(1).is_some_and(|word| word == "check") {
        check()
    } else {
        serve().await
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Outcome<ExitCode> {
    // A process that is number 1 of its container ignores a signal it does not handle.
    let mut asked_to_end = signal(SignalKind::terminate())?;
    let fault = Fault::parse(&variable("SAMPLE_FAULT"))?;
    if fault == Fault::Exit {
        eprintln!("agent: ending, as SAMPLE_FAULT asks");
        return Ok(ExitCode::from(3));
    }
    let agent = Arc::new(Agent {
        fault,
        store: Mutex::new(Store::open(Path::new(DATA))?),
    });
    let web = TcpListener::bind((Ipv4Addr::UNSPECIFIED, web_port()?)).await?;
    let port = port("BRIDGE_PORT", 31337)?;
    let bridge = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    println!("agent {:?} is ready", variable("AGENT_NAME"));
    // Whatever is under way is dropped: each change was saved before it was answered.
    tokio::select! {
        _ = asked_to_end.recv() => {
            println!("agent is ending");
            Ok(ExitCode::SUCCESS)
        }
        broken = axum::serve(web, web::web(Arc::clone(&agent))) => Err(ended(broken)),
        broken = axum::serve(bridge, web::bridge(agent)) => Err(ended(broken)),
    }
}

fn ended(broken: std::io::Result<()>) -> Box<dyn Error> {
    broken.map_or_else(Into::into, |()| "a port is no longer served".into())
}

fn check() -> Outcome<ExitCode> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, web_port()?))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    let good = start.ends_with(b" 200");
    Ok(ExitCode::from(u8::from(!good)))
}

fn web_port() -> Outcome<u16> {
    port("MILADY_PORT", 2138)
}

fn port(name: &str, usual: u16) -> Outcome<u16> {
    let text = variable(name);
    if text.is_empty() {
        return Ok(usual);
    }
    text.parse()
        .map_err(|_| format!("{name} is no port: {text:?}").into())
}

/// The text of an environment variable, empty when it is unset.
fn variable(name: &str) -> String {
    let value = env::var_os(name).unwrap_or_default();
    value.to_string_lossy().into_owned()
}
