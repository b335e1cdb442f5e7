//! Ports that a server gives up and takes again.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

/// Above the ports that agents are given and below those that Linux gives to outgoing connections, so that nobody
/// takes the port of a server that is restarted.
const FIRST: u16 = 25_000;
const COUNT: u16 = 7_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on 127.0.0.1 on which nothing listens. This process gets it again only after all others of the range;
/// another process may get it at any time.
///
/// # Errors
///
/// All ports of the range are taken.
pub fn free_port() -> Result<u16> {
    // Processes that run at the same time begin at different ports.
    let start = std::process::id().wrapping_mul(257) % u32::from(COUNT);
    let start = u16::try_from(start).context("a port's offset")?;
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + offset) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {FIRST} to {} is free", FIRST + COUNT - 1)
}
