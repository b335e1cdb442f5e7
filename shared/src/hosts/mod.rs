//! Hosts. Owns: one SSH connection per host, and everything that goes through it: the Docker Engine API, the
//! host's load and disk figures, the HTTP of agents. Does not own: which host is used and when, and what is
//! recorded about it. Nothing from a request is ever part of a shell command: both commands are constants.

mod agent;
mod channel;
mod client;
mod connection;
mod dial;
mod engine;
mod error;
mod facts;
mod handshake;
mod host_key;
mod http;
mod io_weight;
mod key;
mod target;

pub use agent::{AgentHttp, HttpResponse};
pub use client::{HostClient, HostKeyProbe};
pub use connection::Connection;
pub use engine::{
    AgentVolume, ContainerRuntime, ContainerSpec, CopyError, CopyMeter, DataMount, DataReader,
    Engine, EngineError, EngineErrorReason, EngineInfo, NextStep, PublishedPort, PullEnd,
    RegistryAccount, name_holder,
};
pub use error::HostError;
pub use facts::HostFigures;
pub use key::{KeyError, KeyErrorReason, SshKey};
pub use target::{DOCKER_SOCKET, Fingerprint, Target, resolve_hostname};
