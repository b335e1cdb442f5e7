//! What the statements on agents' roles and databases share. Owns: sorting the server's errors.
//!
//! Names are built from ids alone, and a password only ever appears as a literal.

use sqlx::{AssertSqlSafe, PgConnection};
use tracing::warn;

use crate::agent_databases::{DatabaseError, DatabaseErrorReason};

/// Waits until no other session works on the same agent, and keeps the others out until this session ends. The
/// session of a caller that was cut off counts, too: the server first finishes its statement.
pub(super) async fn lock_agent(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let lock = sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))");
    lock.bind(name).execute(conn).await.map(drop)
}

/// Whether a role is a superuser. `None` if there is no such role.
pub(super) async fn find_role(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<bool>> {
    let role = sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = $1");
    role.bind(name).fetch_optional(conn).await
}

/// Makes us a member of the role: only members and superusers may change what a role owns.
pub(super) async fn join_role(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let is_member = sqlx::query_scalar("SELECT pg_has_role(current_user, $1::name, 'USAGE')");
    if is_member.bind(name).fetch_one(&mut *conn).await? {
        return Ok(());
    }
    run(conn, format!("GRANT {name} TO CURRENT_USER")).await
}

/// Ends the sessions of the role, and those in its database: `DROP DATABASE` ends most of these itself, but not one that
/// uses a replication slot. Waits a second for each.
pub(super) async fn end_sessions(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    // Without those that we have no right to end: `DROP DATABASE` then says what is in the way.
    let end = sqlx::query(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
        WHERE (usename = $1 OR datname = $1) AND pid <> pg_backend_pid()
            AND pg_has_role(current_user, usesysid, 'USAGE')",
    );
    end.bind(name).execute(conn).await.map(drop)
}

pub(super) async fn run(conn: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    let statement = sqlx::raw_sql(AssertSqlSafe(statement));
    statement.execute(conn).await.map(drop)
}

/// A string literal that means the same whatever the session's settings.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

pub(super) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// Whether another session changed the same catalog rows. The next attempt sees what that session did.
pub(super) fn is_collision(error: &sqlx::Error) -> bool {
    // Exists already: database, role, catalog row. Gone already: role, database. In use. XX000 is "tuple
    // concurrently updated".
    const CODES: [&str; 7] = [
        "42P04", "42710", "23505", "42704", "3D000", "55006", "XX000",
    ];
    sqlstate(error).is_some_and(|code| CODES.contains(&code.as_str()))
}

/// Sorts an error by what can be done about it.
pub(super) fn classify(error: sqlx::Error) -> DatabaseError {
    let reason = match sqlstate(&error) {
        Some(code) => {
            warn!(code, "the server of agents' databases refused a statement");
            refusal(&error, &code)
        }
        None => match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => DatabaseErrorReason::Unreachable,
            _ => DatabaseErrorReason::Protocol,
        },
    };
    DatabaseError::new(reason).with_cause(error)
}

fn refusal(error: &sqlx::Error, code: &str) -> DatabaseErrorReason {
    match code {
        // Authentication, no such database, rights, and objects that depend on the role.
        "28000" | "28P01" | "3D000" | "42501" | "2BP01" => DatabaseErrorReason::Refused,
        // The statement timeout and the lock timeout.
        "57014" | "55P03" => DatabaseErrorReason::TimedOut,
        // The classes for resources, operator intervention and system errors: too many connections, shutting
        // down, out of space.
        _ if ["53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            DatabaseErrorReason::Unavailable
        }
        _ if is_collision(error) => DatabaseErrorReason::Unavailable,
        _ => DatabaseErrorReason::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_escapes_quotes_and_backslashes() {
        assert_eq!(literal("it's \\ \"q\""), "E'it''s \\\\ \"q\"'");
    }
}
