//! Failures of outside systems: a reason that may be shown, and the library's error that it came from.
//! Owns: that the cause is kept and never shown. Does not own: the reasons, which each module names itself.
//!
//! Texts of libraries can hold addresses, SQL, secrets and whatever a remote server sent. `Display` of a
//! [`Failure`] is its reason alone; `Debug` and [`Failure::cause`] add the [class](Cause::class) of its
//! cause, which is safe to log.

mod cause;

use std::error::Error;
use std::fmt;

pub use cause::Cause;

/// A reason, and the error that it came from, if there is one.
pub struct Failure<R> {
    reason: R,
    cause: Option<Box<dyn Cause>>,
}

impl<R> Failure<R> {
    #[must_use]
    pub fn new(reason: R) -> Self {
        Self {
            reason,
            cause: None,
        }
    }

    #[must_use]
    pub fn with_cause(self, cause: impl Cause) -> Self {
        Self {
            cause: Some(Box::new(cause)),
            ..self
        }
    }

    #[must_use]
    pub fn reason(&self) -> R
    where
        R: Copy,
    {
        self.reason
    }

    /// The reason where it cannot be copied.
    #[must_use]
    pub fn reason_ref(&self) -> &R {
        &self.reason
    }

    /// What kind of error it came from, for logs: `connection refused`, `HTTP status 500`. `None` if there
    /// is no other error.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        self.cause.as_ref().map(|cause| cause.class())
    }

    /// The same failure in the words of another module.
    #[must_use]
    pub fn map_reason<T>(self, map: impl FnOnce(R) -> T) -> Failure<T> {
        Failure {
            reason: map(self.reason),
            cause: self.cause,
        }
    }
}

/// For `map_err`: keeps the error as the cause of a failure with this reason.
pub fn with_reason<R, C: Cause>(reason: R) -> impl FnOnce(C) -> Failure<R> {
    |cause| Failure::new(reason).with_cause(cause)
}

impl<R> From<R> for Failure<R> {
    fn from(reason: R) -> Self {
        Self::new(reason)
    }
}

impl<R: fmt::Display> fmt::Display for Failure<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<R: fmt::Debug> fmt::Debug for Failure<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Failure");
        debug.field("reason", &self.reason);
        if let Some(cause) = self.cause() {
            debug.field("cause", &cause);
        }
        debug.finish()
    }
}

impl<R: fmt::Debug + fmt::Display> Error for Failure<R> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause: &(dyn Error + 'static) = self.cause.as_deref()?;
        Some(cause)
    }
}

impl<R: fmt::Debug + fmt::Display + Send + Sync + 'static> Cause for Failure<R> {
    fn class(&self) -> String {
        match self.cause() {
            Some(cause) => format!("{}: {cause}", self.reason),
            None => self.reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("The host cannot be reached")]
    struct Unreachable;

    #[test]
    fn the_cause_is_kept_and_its_text_is_not_shown() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "10.0.0.7:22 refused");
        let failure = Failure::new(Unreachable).with_cause(refused);
        assert_eq!(failure.to_string(), "The host cannot be reached");
        assert_eq!(failure.cause().as_deref(), Some("connection refused"));
        assert_eq!(
            format!("{failure:?}"),
            "Failure { reason: Unreachable, cause: \"connection refused\" }"
        );
        let source = failure.source().expect("a source");
        assert!(source.is::<io::Error>());
    }
}
