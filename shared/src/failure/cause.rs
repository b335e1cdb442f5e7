//! What may be logged of a library's error. Owns: the words, which hold none of the error's own text where
//! that text can hold data.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Debug;

use aws_sdk_eventbridge::error::{ProvideErrorMetadata, SdkError};

/// An error that a [`Failure`](super::Failure) can keep.
pub trait Cause: Error + Send + Sync + 'static {
    /// What kind of error it is, without addresses, names, SQL, secrets or the text of a remote server.
    fn class(&self) -> String;
}

impl Cause for std::io::Error {
    fn class(&self) -> String {
        self.kind().to_string()
    }
}

impl Cause for std::string::FromUtf8Error {
    fn class(&self) -> String {
        "not UTF-8".to_owned()
    }
}

impl Cause for tokio::sync::AcquireError {
    fn class(&self) -> String {
        "semaphore closed".to_owned()
    }
}

/// Without the offset and the symbol: the text may be a key.
impl Cause for base64::DecodeError {
    fn class(&self) -> String {
        "not base64".to_owned()
    }
}

/// Without the text around the error.
impl Cause for serde_json::Error {
    fn class(&self) -> String {
        format!("JSON error: {:?}", self.classify()).to_lowercase()
    }
}

impl Cause for url::ParseError {
    fn class(&self) -> String {
        self.to_string()
    }
}

impl Cause for hyper::http::Error {
    fn class(&self) -> String {
        "not a valid HTTP request".to_owned()
    }
}

impl Cause for hyper::header::InvalidHeaderValue {
    fn class(&self) -> String {
        "not a valid header value".to_owned()
    }
}

/// The words of hyper itself are constants; those of its own cause are left out.
impl Cause for hyper::Error {
    fn class(&self) -> String {
        self.to_string()
    }
}

impl Cause for russh::Error {
    fn class(&self) -> String {
        match self {
            Self::IO(error) => error.class(),
            Self::ChannelOpenFailure(why) => format!("channel refused: {}", variant_name(why)),
            other => format!("SSH error {}", variant_name(other)),
        }
    }
}

impl Cause for russh::keys::Error {
    fn class(&self) -> String {
        format!("SSH key error {}", variant_name(self))
    }
}

impl Cause for bollard::errors::Error {
    fn class(&self) -> String {
        match self {
            Self::DockerResponseServerError { status_code, .. } => {
                format!("HTTP status {status_code}")
            }
            Self::IOError { err } => err.class(),
            Self::HyperResponseError { err } => err.class(),
            other => format!("Docker error {}", variant_name(other)),
        }
    }
}

impl Cause for reqwest::Error {
    fn class(&self) -> String {
        if self.is_timeout() {
            return "timed out".to_owned();
        }
        if let Some(error) = io_error_beneath(self) {
            return error.class();
        }
        let class = if self.is_connect() {
            "connecting failed"
        } else if self.is_builder() {
            "client not built"
        } else if self.is_request() {
            "request failed"
        } else if self.is_body() || self.is_decode() {
            "body not read"
        } else {
            "HTTP error"
        };
        class.to_owned()
    }
}

impl Cause for sqlx::Error {
    fn class(&self) -> String {
        match self {
            Self::Io(error) => error.class(),
            Self::Database(error) => {
                let code = error.code().unwrap_or(Cow::Borrowed("unknown"));
                format!("SQLSTATE {code}")
            }
            other => format!("database error {}", variant_name(other)),
        }
    }
}

impl<E, R> Cause for SdkError<E, R>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    fn class(&self) -> String {
        match self {
            Self::ConstructionFailure(_) => "request not built".to_owned(),
            Self::TimeoutError(_) => "timed out".to_owned(),
            Self::DispatchFailure(_) => "not reachable".to_owned(),
            Self::ResponseError(_) => "response not understood".to_owned(),
            other => other.code().unwrap_or("no error code").to_owned(),
        }
    }
}

fn io_error_beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    let mut error = error.source();
    while let Some(source) = error {
        if let Some(io) = source.downcast_ref() {
            return Some(io);
        }
        error = source.source();
    }
    None
}

/// The name of an enum's variant, without what the variant holds.
fn variant_name(error: &impl Debug) -> String {
    let debug = format!("{error:?}");
    let name = debug.split(|c: char| !c.is_alphanumeric()).next();
    name.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_no_text_of_the_error() {
        let docker = bollard::errors::Error::DockerResponseServerError {
            status_code: 409,
            message: "name word".to_owned(),
        };
        assert_eq!(docker.class(), "HTTP status 409");
        let docker = bollard::errors::Error::DockerStreamError {
            error: "word".to_owned(),
        };
        assert_eq!(docker.class(), "Docker error DockerStreamError");
        assert_eq!(russh::Error::HUP.class(), "SSH error HUP");
        let json = serde_json::from_str::<u8>("\"word\"").expect_err("no number");
        assert_eq!(json.class(), "json error: data");
        let database = sqlx::Error::Protocol("word".to_owned());
        assert_eq!(database.class(), "database error Protocol");
    }
}
