//! Why something on a host did not work: kinds, never raw text.

/// What went wrong on the way to a host or on it. What it displays may be shown to operators and in a
/// job's error: it holds no address, no name and no text of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HostError {
    /// Nobody listens there, or no route leads there.
    #[error("The host cannot be reached")]
    Unreachable,
    /// Somebody listens and says nothing.
    #[error("The host did not answer in time")]
    TimedOut,
    /// The host does not take our key.
    #[error("The host refused our key")]
    AuthFailed,
    /// The host is not the one it was: nothing was sent to it.
    #[error("The host's key is not the one we know")]
    HostKeyMismatch,
    /// The host's address is not one that may be used.
    #[error("The host's address is not allowed")]
    AddressRefused,
    /// The SSH server does not let us reach the Docker socket or a port.
    #[error("The host refuses to forward connections")]
    ForwardingRefused,
    /// The host is there and its Docker Engine is not.
    #[error("Docker does not answer on the host")]
    DockerUnavailable,
    /// Something answered that is not what we speak.
    #[error("The host answered something that is not understood")]
    Protocol,
    /// It answered more than is read.
    #[error("The answer is too long")]
    TooLong,
    /// There is no key to log in with.
    #[error("No SSH key is set up")]
    NoKey,
    /// The invocation's time was over first.
    #[error("The time for this was over")]
    Deadline,
}
