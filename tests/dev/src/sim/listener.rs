//! The listener of a simulated host. Owns whether its port accepts connections and which of them
//! are served.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::connection::Session;
use super::controlled_stream::ControlledStream;
use super::{Fault, PortMode, PortState, State};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A host's port. The host holds it whether it listens or not.
pub(super) enum Port {
    Listening(TcpListener),
    Reserved(TcpSocket),
}

impl Port {
    /// Binds a port of 127.0.0.1; 0 means any free one. Connections are refused until the host
    /// listens.
    pub(super) fn reserve(port: u16) -> io::Result<(Self, u16)> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let port = socket.local_addr()?.port();
        Ok((Self::Reserved(socket), port))
    }

    /// Listens unless the mode is to refuse connections.
    pub(super) fn open(self, mode: PortMode) -> io::Result<Self> {
        match self {
            Self::Reserved(socket) if mode != PortMode::Refusing => {
                Ok(Self::Listening(socket.listen(BACKLOG)?))
            }
            other => Ok(other),
        }
    }
}

/// Accepts connections as the script says, until the host is dropped.
pub(super) async fn listen(state: Arc<State>, port: Port) {
    if let Err(error) = run(&state, port).await {
        eprintln!("The simulated host {} has failed: {error}", state.name);
    }
}

async fn run(state: &Arc<State>, mut port: Port) -> io::Result<()> {
    let mut ports = state.ports.subscribe();
    loop {
        let mode = ports.borrow_and_update().mode;
        let current = port.open(mode)?;
        state
            .is_listening
            .send_replace(matches!(current, Port::Listening(_)));
        match current {
            _ if mode == PortMode::Stopped => return Ok(()),
            Port::Listening(listener) => {
                let closes = |ports: &PortState| {
                    matches!(ports.mode, PortMode::Refusing | PortMode::Stopped)
                };
                tokio::select! {
                    failed = accept(state, &listener) => return failed,
                    _ = ports.wait_for(closes) => {}
                }
                drop(listener);
                (port, _) = Port::reserve(state.port)?;
            }
            reserved @ Port::Reserved(_) => {
                let _ = ports.changed().await;
                port = reserved;
            }
        }
    }
}

async fn accept(state: &Arc<State>, listener: &TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let number = {
            let mut counts = state.counts();
            counts.connections += 1;
            counts.connections
        };
        stream.set_nodelay(true)?;
        if let Some(Fault::ClosesFirst(count)) = state.fault()
            && number <= count
        {
            // What sshd writes before it closes the connection (`sshd.c`).
            let _ = stream.write_all(b"Exceeded MaxStartups\r\n").await;
            continue;
        }
        tokio::spawn(serve(Arc::clone(state), stream));
    }
}

async fn serve(state: Arc<State>, stream: TcpStream) {
    let mut ports = state.ports.subscribe();
    if ports.borrow().mode == PortMode::Silent {
        // Read, so that a disconnect of the client is noticed.
        tokio::select! {
            () = drain(stream) => {}
            _ = ports.wait_for(|ports| ports.mode != PortMode::Silent) => {}
        }
        return;
    }
    let stream = ControlledStream::new(stream, ports);
    let session = Session::new(&state);
    // A client that leaves or is refused is no error here.
    if let Ok(running) = russh::server::run_stream(state.config(), stream, session).await {
        let _ = running.await;
    }
}

async fn drain(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}
