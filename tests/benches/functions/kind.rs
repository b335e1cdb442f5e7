//! What a function needs, and the limits of its figures that follow.

use std::fs;

/// What a function's `main` calls for its SSH client.
const SSH: &str = "config::hosts()";
/// What a function's `main` calls for a client of `DynamoDB`, `EventBridge`, S3 or SES. The client of Secrets Manager is
/// part of every function with settings.
const AWS: [&str; 4] = [
    "config::cache()",
    "config::publisher()",
    "config::backup_bucket()",
    "config::mailer()",
];
/// The exceptions, which may be larger: both carry agents' states between hosts and the bucket, and `job-run` has nearly
/// every client.
const LARGE: [&str; 2] = ["agent-snapshot", "job-run"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Needs Postgres at most.
    Postgres,
    /// Has an SSH client or clients of AWS.
    Clients,
    Large,
}

/// A MB is a million bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub zipped_mb: f64,
    pub first_poll_ms: f64,
    pub memory_mb: f64,
}

impl Kind {
    /// From what the function's `main` builds: it builds exactly what its route needs. If a client has another name here
    /// than there, its functions are held to the limits of [`Kind::Postgres`] and exceed them.
    pub fn of(function: &str) -> Self {
        if LARGE.contains(&function) {
            return Self::Large;
        }
        let path = dev::build::workspace().join(dev::build::function_source(function));
        let source = fs::read_to_string(path).expect("the function's source");
        let has_clients = AWS
            .into_iter()
            .chain([SSH])
            .any(|call| source.contains(call));
        if has_clients {
            Self::Clients
        } else {
            Self::Postgres
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::Clients => "SSH or AWS",
            Self::Large => "large",
        }
    }

    pub fn limits(self) -> Limits {
        let clients = Limits {
            zipped_mb: 6.0,
            first_poll_ms: 10.0,
            memory_mb: 16.0,
        };
        match self {
            Self::Postgres => Limits {
                zipped_mb: 3.5,
                first_poll_ms: 5.0,
                memory_mb: 12.0,
            },
            Self::Clients => clients,
            Self::Large => Limits {
                zipped_mb: 8.0,
                ..clients
            },
        }
    }
}
