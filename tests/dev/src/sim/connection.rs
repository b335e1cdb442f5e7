//! An SSH connection to a simulated host. Owns which clients and channels are accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, Session as ServerSession, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelStream, MethodKind, MethodSet};
use tokio::task::AbortHandle;

use super::counts::OpenChannel;
use super::{Fault, State, agent, docker};

/// The command of the inspection in `shared::hosts`. A host knows only this one and the next.
const FACTS: &str = "for f in loadavg meminfo pressure/cpu pressure/io pressure/memory; do \
    echo \"== $f\"; cat /proc/$f; done; echo '== cpus'; nproc; echo '== disks'; df -P -B1 /; df -P -B1 -l; \
    echo '== filter'; cat /proc/uptime /run/milady-isolation";
/// The command in `shared::hosts` that reads the weights of disk accesses.
const IO_WEIGHTS: &str = "grep -rs . /sys/fs/cgroup --include=io.weight --include=io.bfq.weight --include=blkio.weight \
    --include=blkio.bfq.weight | grep -E '[0-9a-f]{64}'";
/// The exit status of a shell for an unknown command.
const COMMAND_NOT_FOUND: u32 = 127;

/// The server configuration with these keys.
pub(super) fn config(keys: Vec<PrivateKey>) -> Arc<Config> {
    Arc::new(Config {
        keys,
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // No delay against guessing of keys.
        auth_rejection_time: Duration::ZERO,
        inactivity_timeout: None,
        ..Config::default()
    })
}

pub(super) struct Session {
    state: Arc<State>,
    channels: HashMap<ChannelId, ServedChannel>,
}

/// An open channel and the task that serves it.
struct ServedChannel {
    open_channel: Arc<OpenChannel>,
    task: Option<AbortHandle>,
}

impl ServedChannel {
    fn end(&self) {
        self.open_channel.release();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for channel in self.channels.values() {
            channel.end();
        }
    }
}

/// The target of a forwarded channel.
#[derive(Clone, Copy)]
enum ForwardTarget {
    Docker,
    Agent(u16),
}

impl Session {
    pub(super) fn new(state: &Arc<State>) -> Self {
        Self {
            state: Arc::clone(state),
            channels: HashMap::new(),
        }
    }

    fn track(&mut self, id: ChannelId, task: Option<AbortHandle>) -> Arc<OpenChannel> {
        self.channels
            .retain(|_, channel| !channel.open_channel.is_released());
        let open_channel = OpenChannel::new(&self.state);
        let channel = ServedChannel {
            open_channel: Arc::clone(&open_channel),
            task,
        };
        self.channels.insert(id, channel);
        open_channel
    }

    /// Opens a channel to its target, or refuses it with the reason that OpenSSH gives for a closed
    /// socket or port, or for disabled forwarding.
    fn forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        target: Option<ForwardTarget>,
    ) {
        let state = Arc::clone(&self.state);
        let target = match (target, state.fault()) {
            (_, Some(Fault::ForwardingRefused)) => {
                Err(ChannelOpenFailure::AdministrativelyProhibited)
            }
            (Some(ForwardTarget::Docker), Some(Fault::DockerDown)) | (None, _) => {
                Err(ChannelOpenFailure::ConnectFailed)
            }
            (Some(target), _) => Ok(target),
        };
        let id = channel.id();
        match target {
            Err(reason) => {
                tokio::spawn(async move {
                    state.simulate_latency().await;
                    reply.reject(reason).await;
                });
            }
            Ok(target) => {
                let open_channel = self.track(id, None);
                let task = tokio::spawn(async move {
                    state.simulate_latency().await;
                    reply.accept().await;
                    serve(&state, channel.into_stream(), target).await;
                    open_channel.release();
                });
                self.set_task(id, task.abort_handle());
            }
        }
    }

    fn set_task(&mut self, id: ChannelId, task: AbortHandle) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.task = Some(task);
        }
    }

    /// Refuses anything but commands.
    fn refuse(&self, id: ChannelId, reply: &mut ServerSession) -> Result<(), russh::Error> {
        self.state.counts().refused_commands += 1;
        reply.channel_failure(id)
    }
}

async fn serve(state: &Arc<State>, stream: ChannelStream<Msg>, target: ForwardTarget) {
    match target {
        ForwardTarget::Docker => docker::serve(state, stream).await,
        ForwardTarget::Agent(port) => agent::serve(state, port, stream).await,
    }
}

impl Handler for Session {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.state.simulate_latency().await;
        let is_authorized = key.public_key.key_data() == self.state.authorized.key_data();
        if !is_authorized || self.state.fault() == Some(Fault::AuthRefused) {
            return Ok(Auth::reject());
        }
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, _session: &mut ServerSession) -> Result<(), Self::Error> {
        self.state.counts().handshakes += 1;
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        self.track(channel.id(), None);
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            state.simulate_latency().await;
            reply.accept().await;
        });
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        let is_docker = self.state.script().docker_socket == socket_path;
        self.forward(channel, reply, is_docker.then_some(ForwardTarget::Docker));
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
        _session: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        let port = u16::try_from(port_to_connect).ok();
        let port = port.filter(|_| ["127.0.0.1", "localhost"].contains(&host_to_connect));
        let port = port.filter(|port| self.state.script().is_listening_on(*port));
        self.forward(channel, reply, port.map(ForwardTarget::Agent));
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        let Some(open_channel) = self
            .channels
            .get(&channel)
            .map(|channel| Arc::clone(&channel.open_channel))
        else {
            return session.channel_failure(channel);
        };
        let (text, status) = if data == FACTS.as_bytes() {
            self.state.counts().commands += 1;
            (self.state.script().facts.command_output(), 0)
        } else if data == IO_WEIGHTS.as_bytes() {
            (self.state.script().io_weights(), 0)
        } else {
            self.state.counts().refused_commands += 1;
            (String::new(), COMMAND_NOT_FOUND)
        };
        session.channel_success(channel)?;
        let (state, handle) = (Arc::clone(&self.state), session.handle());
        let task = tokio::spawn(async move {
            state.simulate_latency().await;
            if state.fault() == Some(Fault::CommandHangs) {
                std::future::pending::<()>().await;
            }
            // The client may be gone.
            let _ = handle.data(channel, text.into_bytes()).await;
            let _ = handle.exit_status_request(channel, status).await;
            let _ = handle.eof(channel).await;
            let _ = handle.close(channel).await;
            open_channel.release();
        });
        self.set_task(channel, task.abort_handle());
        Ok(())
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        self.refuse(channel, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        self.refuse(channel, session)
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        if let Some(channel) = self.channels.remove(&channel) {
            channel.end();
        }
        Ok(())
    }
}
