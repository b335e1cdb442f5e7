//! A port that accepts connections but never answers.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// A port of 127.0.0.1 that accepts connections and never sends a byte. It closes when dropped.
#[derive(Debug)]
pub struct SilentPort {
    port: u16,
    /// The kernel completes each handshake by itself; nothing ever accepts the connections.
    _listener: TcpListener,
}

impl SilentPort {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        Ok(Self {
            port: listener.local_addr()?.port(),
            _listener: listener,
        })
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
