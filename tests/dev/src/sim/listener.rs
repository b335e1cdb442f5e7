//! A host's port. Owns: whether somebody listens there, and who is let speak.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::connection::Session;
use super::wire::Wire;
use super::{Door, Line, State};

/// Connections that may wait to be taken.
const BACKLOG: u32 = 1024;

/// A host's port: it is its own whether somebody listens there or not.
pub(super) enum Port {
    Listening(TcpListener),
    Reserved(TcpSocket),
}

impl Port {
    /// Takes a port of 127.0.0.1, any free one for 0. Whoever connects is refused until somebody listens.
    pub(super) fn reserve(port: u16) -> io::Result<(Self, u16)> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let port = socket.local_addr()?.port();
        Ok((Self::Reserved(socket), port))
    }

    /// Listens there unless the host refuses connections.
    pub(super) fn open(self, door: Door) -> io::Result<Self> {
        match self {
            Self::Reserved(socket) if door != Door::Refusing => {
                Ok(Self::Listening(socket.listen(BACKLOG)?))
            }
            other => Ok(other),
        }
    }
}

/// Lets connections in as the script says, until the host is gone.
pub(super) async fn listen(state: Arc<State>, port: Port) {
    if let Err(error) = keep(&state, port).await {
        eprintln!("The simulated host {} is gone: {error}", state.name);
    }
}

async fn keep(state: &Arc<State>, mut port: Port) -> io::Result<()> {
    let mut line = state.line.subscribe();
    loop {
        let door = line.borrow_and_update().door;
        let now = port.open(door)?;
        state.open.send_replace(matches!(now, Port::Listening(_)));
        match now {
            _ if door == Door::Gone => return Ok(()),
            Port::Listening(listener) => {
                let closes = |line: &Line| matches!(line.door, Door::Refusing | Door::Gone);
                tokio::select! {
                    failed = accept(state, &listener) => return failed,
                    _ = line.wait_for(closes) => {}
                }
                drop(listener);
                (port, _) = Port::reserve(state.port)?;
            }
            reserved @ Port::Reserved(_) => {
                let _ = line.changed().await;
                port = reserved;
            }
        }
    }
}

async fn accept(state: &Arc<State>, listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        state.counts().connections += 1;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(Arc::clone(state), stream));
    }
}

async fn serve(state: Arc<State>, stream: TcpStream) {
    let mut line = state.line.subscribe();
    if line.borrow().door == Door::Silent {
        // Read, so that it is noticed when the other side gives up.
        tokio::select! {
            () = drain(stream) => {}
            _ = line.wait_for(|line| line.door != Door::Silent) => {}
        }
        return;
    }
    let wire = Wire::new(stream, line);
    let session = Session::new(&state);
    // Whoever leaves in the middle, or is not let in, is no error of ours.
    if let Ok(running) = russh::server::run_stream(state.config(), wire, session).await {
        let _ = running.await;
    }
}

async fn drain(mut stream: TcpStream) {
    let mut unread = [0; 1024];
    while matches!(stream.read(&mut unread).await, Ok(1..)) {}
}
