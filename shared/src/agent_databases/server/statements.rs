//! The statements that create and remove an agent's role and database. Owns: sorting the server's errors.
//!
//! Names are built from ids alone, and a password only ever appears as a literal.

use sqlx::{AssertSqlSafe, PgConnection};
use tracing::warn;

use crate::agent_databases::{DatabaseError, DatabaseErrorReason};

/// How many connections an agent may have: its share of the server.
const MAX_CONNECTIONS: u32 = 10;

/// The role and the database that an agent's URI names, and the role's password.
pub(super) struct DatabaseSpec {
    pub(super) name: String,
    pub(super) password: String,
}

/// Waits until no other session works on the same agent, and keeps the others out until this session ends. The
/// session of a caller that was cut off counts, too: the server first finishes its statement.
pub(super) async fn lock_agent(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let lock = sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))");
    lock.bind(name).execute(conn).await.map(drop)
}

pub(super) async fn create(conn: &mut PgConnection, spec: &DatabaseSpec) -> sqlx::Result<()> {
    let DatabaseSpec { name, password } = spec;
    let is_superuser = find_role(conn, name).await?;
    if is_superuser.is_none() {
        // Without the password: the server logs the text of a statement that fails.
        let attributes = "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE";
        run(conn, format!("CREATE ROLE {name} {attributes}")).await?;
    }
    // An administrator who is not a superuser must not even name the attribute.
    let demotion = if is_superuser == Some(true) {
        "NOSUPERUSER "
    } else {
        ""
    };
    let attributes =
        format!("{demotion}LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT {MAX_CONNECTIONS}");
    let password = literal(password);
    run(
        conn,
        format!("ALTER ROLE {name} {attributes} PASSWORD {password}"),
    )
    .await?;
    join_role(conn, name).await?;
    let exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    let exists = sqlx::query_scalar(exists).bind(name);
    if !exists.fetch_one(&mut *conn).await? {
        // Closed until the rights of PUBLIC are revoked: until then any role of the server could connect.
        run(
            conn,
            format!("CREATE DATABASE {name} OWNER {name} ALLOW_CONNECTIONS false"),
        )
        .await?;
    }
    run(conn, format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC")).await?;
    run(conn, format!("GRANT ALL ON DATABASE {name} TO {name}")).await?;
    run(
        conn,
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
    )
    .await
}

pub(super) async fn remove(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let role_exists = find_role(conn, name).await?.is_some();
    if role_exists {
        join_role(conn, name).await?;
    }
    run(conn, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    if role_exists {
        // What the role owns in databases where PUBLIC may connect: a role that owns something cannot be
        // dropped.
        run(conn, format!("DROP OWNED BY {name}")).await?;
        run(conn, format!("DROP ROLE IF EXISTS {name}")).await?;
    }
    Ok(())
}

/// Whether a role is a superuser. `None` if there is no such role.
async fn find_role(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<bool>> {
    let role = sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = $1");
    role.bind(name).fetch_optional(conn).await
}

/// Makes us a member of the role: only members and superusers may change what a role owns.
async fn join_role(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let is_member = sqlx::query_scalar("SELECT pg_has_role(current_user, $1::name, 'USAGE')");
    if is_member.bind(name).fetch_one(&mut *conn).await? {
        return Ok(());
    }
    run(conn, format!("GRANT {name} TO CURRENT_USER")).await
}

async fn run(conn: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    let statement = sqlx::raw_sql(AssertSqlSafe(statement));
    statement.execute(conn).await.map(drop)
}

/// A string literal that means the same whatever the session's settings.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
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
