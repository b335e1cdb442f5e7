//! What a database error means. Owns: which errors pass, and what of an error may be logged.

use std::io::ErrorKind;

/// What the caller can do about a database error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseFailure {
    /// A lock conflict: the same transaction may succeed if it is repeated.
    Conflict,
    /// The server cannot be reached or is shutting down.
    Unavailable,
    Other,
}

#[must_use]
pub fn classify(error: &sqlx::Error) -> DatabaseFailure {
    use sqlx::Error as E;
    match error {
        E::Database(error) => match error.code().as_deref() {
            // deadlock_detected, serialization_failure, lock_not_available
            Some("40P01" | "40001" | "55P03") => DatabaseFailure::Conflict,
            // connection exceptions
            Some(code) if code.starts_with("08") => DatabaseFailure::Unavailable,
            // too_many_connections, admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout
            // feature_not_supported, read_only_sql_transaction: a standby refuses to begin a transaction that may write
            Some("53300" | "57P01" | "57P02" | "57P03" | "57P05" | "0A000" | "25006") => {
                DatabaseFailure::Unavailable
            }
            _ => DatabaseFailure::Other,
        },
        E::Io(_)
        | E::Tls(_)
        | E::PoolTimedOut
        | E::PoolClosed
        | E::WorkerCrashed
        | E::Protocol(_) => DatabaseFailure::Unavailable,
        _ => DatabaseFailure::Other,
    }
}

pub(super) fn is_too_many_connections(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("53300"))
}

/// Whether the server refused the password: SQLSTATE `invalid_password`, `invalid_authorization_specification`.
pub(super) fn is_login_refused(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    matches!(error.code().as_deref(), Some("28P01" | "28000"))
}

/// Whether the role lacks a right: SQLSTATE `insufficient_privilege`.
#[must_use]
pub fn is_forbidden(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("42501"))
}

#[must_use]
pub fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

/// Whether a role, table or other object of this name exists already: SQLSTATE `duplicate_object`.
#[must_use]
pub fn is_duplicate_object(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("42710"))
}

/// Whether the database refuses a state of an agent although it works: SQLSTATE classes 22 (data exceptions) and 54
/// (program limits), or more time, memory or disk would be needed than there is (`query_canceled`, `out_of_memory`,
/// `disk_full`).
#[must_use]
pub fn is_refused_state(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    let code = error.code();
    code.is_some_and(|code| {
        code.starts_with("22")
            || code.starts_with("54")
            || matches!(&*code, "57014" | "53200" | "53100")
    })
}

/// [`error_class`], or the error itself if the database is unavailable, which ends whatever is being done.
pub fn class_unless_unavailable(error: sqlx::Error) -> sqlx::Result<String> {
    if classify(&error) == DatabaseFailure::Unavailable {
        Err(error)
    } else {
        Ok(error_class(&error))
    }
}

/// What may be logged of a database error: its SQLSTATE and the constraint it violates, or the kind of connection
/// trouble. Never its text, which can hold values and SQL.
#[must_use]
pub fn error_class(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code();
            let code = code.as_deref().unwrap_or("unknown");
            match error.constraint() {
                Some(constraint) => format!("sqlstate {code}, constraint {constraint}"),
                None => format!("sqlstate {code}"),
            }
        }
        // The driver reports a certificate that was refused as data that are not valid.
        sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            "connection: TLS".to_owned()
        }
        sqlx::Error::Io(error) => format!("connection: {}", error.kind()),
        sqlx::Error::PoolTimedOut => "connection: timed out".to_owned(),
        sqlx::Error::Tls(_) => "connection: TLS".to_owned(),
        sqlx::Error::RowNotFound => "row not found".to_owned(),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            "value out of range".to_owned()
        }
        _ => "driver".to_owned(),
    }
}
