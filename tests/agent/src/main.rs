//! A sample agent for tests and the local stack. It serves the HTTP interface of an agent on its
//! two ports, keeps its state below `/app/data`, and misbehaves as `SAMPLE_FAULT` says; see
//! `fault`.
//!
//! `agent check` requests the health of the agent in the same container and exits with 0 or 1. It
//! serves as the Docker health check, because the image contains no other program.
//!
//! `agent connect ADDRESS:PORT` exits with 0 if something accepts a connection there within two
//! seconds, and with 1 if not. `agent listen PORT..` accepts connections until its input ends.

#![expect(
    clippy::disallowed_methods,
    reason = "the agent is a separate program and reads the clock itself"
)]

mod bridge;
mod fault;
mod state;
mod web;

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use fault::Fault;
use state::Store;
use web::Agent;

const DATA_DIRECTORY: &str = "/app/data";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match env::args().nth(1).as_deref() {
        Some("check") => check_health(),
        Some("connect") => connect(),
        Some("listen") => listen(),
        _ => serve().await,
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
    // Process 1 of a container ignores signals for which it has no handler.
    let mut terminate = signal(SignalKind::terminate())?;
    let fault = Fault::parse(&variable("SAMPLE_FAULT"))?;
    if fault == Fault::Exit {
        eprintln!("agent: exiting with status 3 because SAMPLE_FAULT=exit");
        return Ok(ExitCode::from(3));
    }
    let agent = Arc::new(Agent {
        fault,
        store: Mutex::new(Store::open(Path::new(DATA_DIRECTORY))?),
    });
    let web = TcpListener::bind((Ipv4Addr::UNSPECIFIED, web_port()?)).await?;
    let port = port("BRIDGE_PORT", 31337)?;
    let bridge = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    println!("agent {:?} is ready", variable("AGENT_NAME"));
    // Requests in progress are dropped. Nothing is lost: each change is saved before its answer is
    // sent.
    tokio::select! {
        _ = terminate.recv() => {
            println!("agent is ending");
            Ok(ExitCode::SUCCESS)
        }
        result = axum::serve(web, web::web_router(Arc::clone(&agent))) => Err(server_ended(result)),
        result = axum::serve(bridge, web::bridge_router(agent)) => Err(server_ended(result)),
    }
}

fn server_ended(result: std::io::Result<()>) -> Box<dyn Error> {
    result.map_or_else(Into::into, |()| "a port is no longer served".into())
}

fn check_health() -> Outcome<ExitCode> {
    let timeout = Duration::from_secs(2);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, web_port()?))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    let is_healthy = start.ends_with(b" 200");
    Ok(ExitCode::from(u8::from(!is_healthy)))
}

fn connect() -> Outcome<ExitCode> {
    let address: SocketAddr = env::args().nth(2).unwrap_or_default().parse()?;
    let connected = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
    Ok(ExitCode::from(u8::from(connected.is_err())))
}

/// The kernel accepts connections for a listener.
fn listen() -> Outcome<ExitCode> {
    let mut listeners = Vec::new();
    for port in env::args().skip(2) {
        let address = (Ipv4Addr::UNSPECIFIED, port.parse()?);
        listeners.push(std::net::TcpListener::bind(address)?);
    }
    println!("listening");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(ExitCode::SUCCESS)
}

fn web_port() -> Outcome<u16> {
    port("MILADY_PORT", 2138)
}

fn port(name: &str, default: u16) -> Outcome<u16> {
    let text = variable(name);
    if text.is_empty() {
        return Ok(default);
    }
    text.parse()
        .map_err(|_| format!("{name} is not a port number: {text:?}").into())
}

/// The text of an environment variable, empty when it is unset.
fn variable(name: &str) -> String {
    let value = env::var_os(name).unwrap_or_default();
    value.to_string_lossy().into_owned()
}
