//! The SSH connection to a host. Owns: its channels, at most four of them at once, and whether the
//! connection still works.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use russh::client::{self, Handle};
use russh::{ChannelOpenFailure, Disconnect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::channel::Channel;
use super::error::{HostError, classify};
use super::handshake::LoggedIn;
use super::host_key::HostKeyCheck;
use super::target::Fingerprint;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

const OPEN_CHANNEL_TIMEOUT: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Open at the same time; further ones wait. OpenSSH's default limit (`MaxSessions`) is ten.
const MAX_CHANNELS: usize = 4;
/// A connection that was idle for longer is pinged before it is used: it may have died while the function
/// was frozen.
const PING_WHEN_IDLE_AFTER: Duration = Duration::from_secs(20);
/// The discard service. Nothing listens on it on a usual host.
const DISCARD_PORT: u16 = 9;

/// An open connection to a host.
pub struct Connection {
    handle: Handle<HostKeyCheck>,
    fingerprint: Fingerprint,
    key_type: String,
    channels: Arc<Semaphore>,
    channels_opened: AtomicU64,
    last_used: Mutex<Instant>,
    /// Counts the connection against the client's limit.
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    pub(super) fn new(logged_in: LoggedIn, permit: OwnedSemaphorePermit) -> Self {
        Self {
            handle: logged_in.handle,
            fingerprint: logged_in.fingerprint,
            key_type: logged_in.key_type,
            channels: Arc::new(Semaphore::new(MAX_CHANNELS)),
            channels_opened: AtomicU64::new(0),
            last_used: Mutex::new(Instant::now()),
            _permit: permit,
        }
    }

    /// The fingerprint of the key that the host presented.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The type of that key, as OpenSSH calls it: `ssh-ed25519`.
    #[must_use]
    pub fn key_type(&self) -> &str {
        &self.key_type
    }

    /// How many channels were opened on this connection so far.
    #[must_use]
    pub fn channels_opened(&self) -> u64 {
        self.channels_opened.load(Ordering::Relaxed)
    }

    /// Whether the connection can be used. Pings the host if the connection was idle for a while.
    pub(super) async fn is_alive(&self) -> bool {
        if self.handle.is_closed() {
            return false;
        }
        self.last_used().elapsed() < PING_WHEN_IDLE_AFTER || self.ping().await.is_ok()
    }

    /// Whether no channel is open.
    pub(super) fn is_idle(&self) -> bool {
        self.channels.available_permits() == MAX_CHANNELS
    }

    pub(super) fn last_used(&self) -> Instant {
        *self
            .last_used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One exchange with the SSH server, without a channel. Times out after 2 s.
    pub async fn ping(&self) -> Result<(), HostError> {
        timeout(PING_TIMEOUT, self.handle.send_ping())
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)?
            .map_err(classify)?;
        // russh reports success if the connection ended while it waited for the reply.
        if self.handle.is_closed() {
            return Err(HostReadError::Unreachable.into());
        }
        Ok(())
    }

    /// Disconnects. Errors are ignored: the host notices a connection that is gone.
    pub async fn close(&self) {
        let _ = self
            .handle
            .disconnect(Disconnect::ByApplication, "", "")
            .await;
    }

    /// A channel to a Unix socket on the host.
    ///
    /// OpenSSH reports the same error whether nothing listens on a socket or forwarding is forbidden. For a TCP
    /// port the errors differ, so we try a port before we report that Docker is unavailable.
    pub(super) async fn open_socket_channel(&self, path: &str) -> Result<Channel, HostError> {
        let opening = self.handle.channel_open_direct_streamlocal(path);
        let opened = self
            .open_channel(opening, HostReadError::DockerUnavailable)
            .await;
        let Err(error) = opened else { return opened };
        if error.reason() != HostReadError::DockerUnavailable {
            return Err(error);
        }
        match self.open_port_channel(DISCARD_PORT).await {
            Err(port_error) if port_error.reason() == HostReadError::ForwardingRefused => {
                Err(port_error)
            }
            _ => Err(error),
        }
    }

    /// A channel to a port of the host's own loopback.
    pub(super) async fn open_port_channel(&self, port: u16) -> Result<Channel, HostError> {
        let opening =
            self.handle
                .channel_open_direct_tcpip("127.0.0.1", port.into(), "127.0.0.1", 0);
        self.open_channel(opening, HostReadError::Unreachable).await
    }

    /// A channel for a command.
    pub(super) async fn open_command_channel(&self) -> Result<Channel, HostError> {
        self.open_channel(self.handle.channel_open_session(), HostReadError::Protocol)
            .await
    }

    /// `reason_if_refused`: the reason to report if the host fails to open the channel.
    async fn open_channel(
        &self,
        opening: impl Future<Output = Result<russh::Channel<client::Msg>, russh::Error>>,
        reason_if_refused: HostReadError,
    ) -> Result<Channel, HostError> {
        let permit = Arc::clone(&self.channels)
            .acquire_owned()
            .await
            .map_err(with_reason(HostReadError::Protocol))?;
        let opened = timeout(OPEN_CHANNEL_TIMEOUT, opening)
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)?;
        let channel = opened.map_err(|error| {
            let reason = match &error {
                russh::Error::ChannelOpenFailure(
                    ChannelOpenFailure::AdministrativelyProhibited,
                ) => HostReadError::ForwardingRefused,
                russh::Error::ChannelOpenFailure(_) => reason_if_refused,
                _ => return classify(error),
            };
            HostError::new(reason).with_cause(error)
        })?;
        self.channels_opened.fetch_add(1, Ordering::Relaxed);
        *self
            .last_used
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(Channel::new(channel, permit))
    }
}
