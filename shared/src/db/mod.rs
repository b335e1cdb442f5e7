//! Postgres, one module per table. Owns: the SQL. Does not own: transactions (`app` begins and
//! commits) and rules (`domain` decides).

pub mod agents;
pub mod billing;
pub mod clock;
pub mod hosts;
pub mod identity;
pub mod jobs;
pub mod requests;

/// What a database error means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A lock conflict: the transaction may succeed when tried again.
    Conflict,
    /// The server cannot be reached or is going away.
    Unavailable,
    /// Anything else.
    Other,
}

/// Sorts a database error by what can be done about it.
#[must_use]
pub fn failure(error: &sqlx::Error) -> Failure {
    use sqlx::Error as E;
    match error {
        E::Database(error) => match error.code().as_deref() {
            // deadlock_detected, serialization_failure, lock_not_available
            Some("40P01" | "40001" | "55P03") => Failure::Conflict,
            // connection exceptions, too many connections, shutdown, crash, starting up
            Some(code) if code.starts_with("08") => Failure::Unavailable,
            Some("53300" | "57P01" | "57P02" | "57P03") => Failure::Unavailable,
            _ => Failure::Other,
        },
        E::Io(_)
        | E::Tls(_)
        | E::PoolTimedOut
        | E::PoolClosed
        | E::WorkerCrashed
        | E::Protocol(_) => Failure::Unavailable,
        _ => Failure::Other,
    }
}

/// Whether a value is there already that may be there once.
#[must_use]
pub fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

/// Whether the database cannot hold the value (class 22: data exceptions, 54: program limits).
#[must_use]
pub fn is_bad_value(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    let code = error.code();
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("54"))
}

/// The class of a database error that may be logged: its SQLSTATE, or the kind of connection
/// trouble. Never its text, which can hold values and SQL.
#[must_use]
pub fn error_class(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            format!("sqlstate {}", error.code().as_deref().unwrap_or("unknown"))
        }
        sqlx::Error::Io(error) => format!("connection: {}", error.kind()),
        sqlx::Error::PoolTimedOut => "connection: timed out".to_owned(),
        sqlx::Error::RowNotFound => "row not found".to_owned(),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            "value out of range".to_owned()
        }
        _ => "driver".to_owned(),
    }
}
