//! Why something on a host failed. Owns: sorting SSH errors by reason.

use russh::Error as Ssh;

use crate::domain::fleet::HostReadError;
use crate::failure::Failure;

/// Why a host cannot be reached or worked on.
pub type HostError = Failure<HostReadError>;

/// Sorts an SSH error by what can be done about it.
pub(super) fn classify(error: Ssh) -> HostError {
    let reason = match &error {
        Ssh::UnknownKey | Ssh::WrongServerSig => HostReadError::HostKeyMismatch,
        Ssh::NotAuthenticated | Ssh::NoAuthMethod => HostReadError::AuthFailed,
        Ssh::ConnectionTimeout | Ssh::KeepaliveTimeout | Ssh::InactivityTimeout => {
            HostReadError::TimedOut
        }
        Ssh::IO(_) | Ssh::HUP | Ssh::Disconnect | Ssh::SendError | Ssh::RecvError => {
            HostReadError::Unreachable
        }
        _ => HostReadError::Protocol,
    };
    HostError::new(reason).with_cause(error)
}
