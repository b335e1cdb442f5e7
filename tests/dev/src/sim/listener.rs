//! The listener of a simulated host. Owns whether its port accepts connections and which of them
//! are served.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use super::connection::Session;
use super::controlled_stream::ControlledStream;
use super::{Fault, PortMode, PortState, PortStatus, State};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// A process that is being started has copies of all sockets until it runs its program. So a listener that was closed may
/// listen a little longer.
const COPIES_TIMEOUT: Duration = Duration::from_secs(2);
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// A host's port of 127.0.0.1. A second socket is bound to it all the time, so that no other program gets the port while
/// connections are refused.
pub(super) struct Port {
    bound: TcpSocket,
    number: u16,
    listener: Option<TcpListener>,
}

impl Port {
    /// Takes any free port. Connections are refused until it listens.
    pub(super) fn reserve() -> io::Result<Self> {
        let bound = bind(0)?;
        Ok(Self {
            number: bound.local_addr()?.port(),
            bound,
            listener: None,
        })
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Refuses connections from now on, or listens, as the mode says.
    pub(super) fn set(&mut self, mode: PortMode) -> io::Result<()> {
        if matches!(mode, PortMode::Refusing | PortMode::Stopped) {
            self.listener = None;
        } else if self.listener.is_none() {
            // Linux lets several sockets have a port while none of them listens.
            let next = bind(self.number)?;
            let bound = std::mem::replace(&mut self.bound, next);
            self.listener = Some(bound.listen(BACKLOG)?);
        }
        Ok(())
    }
}

fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

/// Accepts connections as the script says, until the host is dropped.
pub(super) async fn listen(state: Arc<State>, port: Port) {
    if let Err(error) = run(&state, port).await {
        let failure = PortStatus::Failed(error.to_string());
        state.port_status.send_replace(failure);
    }
}

async fn run(state: &Arc<State>, mut port: Port) -> io::Result<()> {
    let mut ports = state.ports.subscribe();
    loop {
        let mode = ports.borrow_and_update().mode;
        set(&mut port, mode).await?;
        if mode == PortMode::Stopped {
            return Ok(());
        }
        let Some(listener) = &port.listener else {
            state.port_status.send_replace(PortStatus::Refusing);
            let _ = ports.changed().await;
            continue;
        };
        state.port_status.send_replace(PortStatus::Listening);
        let closes =
            |ports: &PortState| matches!(ports.mode, PortMode::Refusing | PortMode::Stopped);
        tokio::select! {
            failed = accept(state, listener) => return failed,
            _ = ports.wait_for(closes) => {}
        }
    }
}

/// Like [`Port::set`], and waits for copies of the closed listener.
async fn set(port: &mut Port, mode: PortMode) -> io::Result<()> {
    let deadline = Instant::now() + COPIES_TIMEOUT;
    loop {
        match port.set(mode) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(RETRY_INTERVAL).await;
            }
            result => return result,
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
