//! One SSH connection to a simulated host. Owns: who is let in, and which channels are opened.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, Session as Reply, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelStream, MethodKind, MethodSet};
use tokio::task::AbortHandle;

use super::counts::Held;
use super::{Fault, State, agent, docker};

/// The one command that a host is asked; any other is not found there.
const FACTS: &str = "for f in loadavg meminfo pressure/cpu pressure/io pressure/memory; do \
    echo \"== $f\"; cat /proc/$f; done; echo '== cpus'; nproc; echo '== disk'; df -P -B1 /";
/// What a shell exits with for a command that it does not find.
const NOT_FOUND: u32 = 127;

/// The settings of a server with this key.
pub(super) fn config(key: PrivateKey) -> Arc<Config> {
    Arc::new(Config {
        keys: vec![key],
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // Nobody guesses here.
        auth_rejection_time: Duration::ZERO,
        inactivity_timeout: None,
        ..Config::default()
    })
}

/// A connection.
pub(super) struct Session {
    state: Arc<State>,
    open: HashMap<ChannelId, Open>,
}

/// A channel, and whoever serves it.
struct Open {
    held: Arc<Held>,
    task: Option<AbortHandle>,
}

impl Open {
    fn end(&self) {
        self.held.release();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for open in self.open.values() {
            open.end();
        }
    }
}

/// What waits at the end of a channel.
#[derive(Clone, Copy)]
enum End {
    Docker,
    Agent(u16),
}

impl Session {
    pub(super) fn new(state: &Arc<State>) -> Self {
        Self {
            state: Arc::clone(state),
            open: HashMap::new(),
        }
    }

    fn hold(&mut self, id: ChannelId, task: Option<AbortHandle>) -> Arc<Held> {
        self.open.retain(|_, open| !open.held.is_released());
        let held = Held::new(&self.state);
        let open = Open {
            held: Arc::clone(&held),
            task,
        };
        self.open.insert(id, open);
        held
    }

    /// Opens a channel to where it shall lead, or says why not: what OpenSSH says of a socket or port
    /// where nobody listens, or of forwarding that is off.
    fn forward(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, end: Option<End>) {
        let state = Arc::clone(&self.state);
        let end = match (end, state.fault()) {
            (_, Some(Fault::ForwardingRefused)) => {
                Err(ChannelOpenFailure::AdministrativelyProhibited)
            }
            (Some(End::Docker), Some(Fault::DockerDown)) | (None, _) => {
                Err(ChannelOpenFailure::ConnectFailed)
            }
            (Some(end), _) => Ok(end),
        };
        let id = channel.id();
        match end {
            Err(reason) => {
                tokio::spawn(async move {
                    state.latency().await;
                    reply.reject(reason).await;
                });
            }
            Ok(end) => {
                let held = self.hold(id, None);
                let task = tokio::spawn(async move {
                    state.latency().await;
                    reply.accept().await;
                    serve(&state, channel.into_stream(), end).await;
                    held.release();
                });
                self.served(id, task.abort_handle());
            }
        }
    }

    fn served(&mut self, id: ChannelId, task: AbortHandle) {
        if let Some(open) = self.open.get_mut(&id) {
            open.task = Some(task);
        }
    }

    /// Whatever is no command is not given.
    fn refuse(&self, id: ChannelId, reply: &mut Reply) -> Result<(), russh::Error> {
        self.state.counts().refused_commands += 1;
        reply.channel_failure(id)
    }
}

async fn serve(state: &Arc<State>, stream: ChannelStream<Msg>, end: End) {
    match end {
        End::Docker => docker::serve(state, stream).await,
        End::Agent(port) => agent::serve(state, port, stream).await,
    }
}

impl Handler for Session {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.state.latency().await;
        let known = key.public_key.key_data() == self.state.authorized.key_data();
        if !known || self.state.fault() == Some(Fault::AuthRefused) {
            return Ok(Auth::reject());
        }
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, _session: &mut Reply) -> Result<(), Self::Error> {
        self.state.counts().handshakes += 1;
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Reply,
    ) -> Result<(), Self::Error> {
        self.hold(channel.id(), None);
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            state.latency().await;
            reply.accept().await;
        });
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Reply,
    ) -> Result<(), Self::Error> {
        let is_docker = self.state.script().docker_socket == socket_path;
        self.forward(channel, reply, is_docker.then_some(End::Docker));
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host_to_connect: &str,
        port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Reply,
    ) -> Result<(), Self::Error> {
        let port = u16::try_from(port_to_connect).ok();
        let port = port.filter(|_| ["127.0.0.1", "localhost"].contains(&host_to_connect));
        let port = port.filter(|port| self.state.script().listens(*port));
        self.forward(channel, reply, port.map(End::Agent));
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Reply,
    ) -> Result<(), Self::Error> {
        let Some(held) = self.open.get(&channel).map(|open| Arc::clone(&open.held)) else {
            return session.channel_failure(channel);
        };
        let (text, status) = if data == FACTS.as_bytes() {
            self.state.counts().commands += 1;
            (self.state.script().facts.printed(), 0)
        } else {
            self.state.counts().refused_commands += 1;
            (String::new(), NOT_FOUND)
        };
        session.channel_success(channel)?;
        let (state, handle) = (Arc::clone(&self.state), session.handle());
        let task = tokio::spawn(async move {
            state.latency().await;
            if state.fault() == Some(Fault::CommandHangs) {
                std::future::pending::<()>().await;
            }
            // Whoever asked may be gone.
            let _ = handle.data(channel, text.into_bytes()).await;
            let _ = handle.exit_status_request(channel, status).await;
            let _ = handle.eof(channel).await;
            let _ = handle.close(channel).await;
            held.release();
        });
        self.served(channel, task.abort_handle());
        Ok(())
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Reply,
    ) -> Result<(), Self::Error> {
        self.refuse(channel, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Reply,
    ) -> Result<(), Self::Error> {
        self.refuse(channel, session)
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Reply,
    ) -> Result<(), Self::Error> {
        if let Some(open) = self.open.remove(&channel) {
            open.end();
        }
        Ok(())
    }
}
