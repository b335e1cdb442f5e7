//! A port behind which nobody says anything.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// A port of 127.0.0.1 that takes connections and never says a word; it closes when dropped.
#[derive(Debug)]
pub struct Silent {
    port: u16,
    /// The kernel completes each connection by itself; nobody ever asks for them.
    _listener: TcpListener,
}

impl Silent {
    /// Opens a port.
    ///
    /// # Errors
    /// When none is free.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        Ok(Self {
            port: listener.local_addr()?.port(),
            _listener: listener,
        })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
