//! Hosts. Owns: one SSH connection per host, and everything that goes through it: the Docker Engine
//! API, the host's own figures, the agent's HTTP. Does not own: which host, when, and what is recorded
//! of it. Nothing that comes from a request is ever part of a command: the one command there is, is a
//! constant.

mod agent;
mod channel;
mod connection;
mod container;
mod docker;
mod engine_error;
mod error;
mod facts;
mod http;
mod key;
mod operate;
mod target;

pub use agent::{AgentHttp, Answer};
pub use connection::{Connection, Fleet};
pub use container::{ContainerSpec, Data, Limits, Published};
pub use docker::{Container, Engine, Life, RegistryAccount};
pub use engine_error::EngineError;
pub use error::HostError;
pub use key::{KeyError, SshKey};
pub use target::{Allowed, DOCKER_SOCKET, Fingerprint, Target};
