//! The statements that create an agent's role and database. Owns: what an agent may do on the server, and its limits.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::PgConnection;
use tracing::warn;

use super::statements::{find_role, join_role, literal, run, sqlstate};

/// How many connections an agent may have: its share of the server.
const MAX_CONNECTIONS: u32 = 10;
/// Settings of an agent's role that end what it forgot. The agent can change them for itself.
const DEFAULT_SETTINGS: [(&str, &str); 2] = [
    ("statement_timeout", "5min"),
    ("idle_in_transaction_session_timeout", "5min"),
];
/// How much disk each of an agent's sessions may take for sorting and hashing. Only superusers, and roles that they
/// grant it to, may set it, so the agent cannot change it.
const TEMP_FILE_LIMIT: &str = "1GB";
/// The `datconnlimit` of a database whose `DROP DATABASE` was interrupted. It can only be dropped.
pub(super) const INVALID_DATABASE: i32 = -2;

/// The role and the database that an agent's URI names, and the role's password.
pub(super) struct DatabaseSpec {
    pub(super) name: String,
    pub(super) password: String,
}

pub(super) async fn create(conn: &mut PgConnection, spec: &DatabaseSpec) -> sqlx::Result<()> {
    close_shared_databases(conn).await?;
    ensure_role(conn, spec).await?;
    ensure_database(conn, &spec.name).await
}

/// Keeps agents out of the databases that every server has: of `template1`, where one session of an agent would make
/// every `CREATE DATABASE` from it fail, of `postgres`, and of the one that we are connected to, in which we take
/// advisory locks. Databases of other applications are left alone: who may connect to them is for their owners to say.
async fn close_shared_databases(conn: &mut PgConnection) -> sqlx::Result<()> {
    let open: Vec<(String, bool)> = sqlx::query_as(
        "SELECT quote_ident(datname), pg_has_role(current_user, datdba, 'USAGE') FROM pg_database
        WHERE datname IN ('template1', 'postgres', current_database())
            AND (has_database_privilege('public', oid, 'CONNECT')
                OR has_database_privilege('public', oid, 'TEMPORARY'))",
    )
    .fetch_all(&mut *conn)
    .await?;
    for (database, may_revoke) in open {
        if may_revoke {
            let rights = "CONNECT, TEMPORARY";
            run(
                conn,
                format!("REVOKE {rights} ON DATABASE {database} FROM PUBLIC"),
            )
            .await?;
        } else {
            static IS_REPORTED: AtomicBool = AtomicBool::new(false);
            if !IS_REPORTED.swap(true, Ordering::Relaxed) {
                warn!(
                    database,
                    "agents can connect to a database that is not theirs; its owner has to revoke CONNECT from PUBLIC"
                );
            }
        }
    }
    Ok(())
}

async fn ensure_role(conn: &mut PgConnection, spec: &DatabaseSpec) -> sqlx::Result<()> {
    let DatabaseSpec { name, password } = spec;
    let is_superuser = find_role(conn, name).await?;
    if is_superuser.is_none() {
        // Without the password: the server logs the text of a statement that fails.
        let attributes = "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE";
        run(conn, format!("CREATE ROLE {name} {attributes}")).await?;
    }
    for (setting, value) in DEFAULT_SETTINGS {
        run(conn, format!("ALTER ROLE {name} SET {setting} = '{value}'")).await?;
    }
    limit_temporary_files(conn, name).await?;
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
    join_role(conn, name).await
}

/// An agent without the limit is still better than none, so a refusal is only logged.
async fn limit_temporary_files(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let limit = format!("ALTER ROLE {name} SET temp_file_limit = '{TEMP_FILE_LIMIT}'");
    match run(conn, limit).await {
        Err(error) if sqlstate(&error).as_deref() == Some("42501") => {
            static IS_REPORTED: AtomicBool = AtomicBool::new(false);
            if !IS_REPORTED.swap(true, Ordering::Relaxed) {
                warn!(
                    "agents' temporary files are not limited; a superuser has to GRANT SET ON PARAMETER temp_file_limit \
                    to the role of AGENT_DATABASE_ADMIN_URL"
                );
            }
            Ok(())
        }
        result => result,
    }
}

async fn ensure_database(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let limit = "SELECT datconnlimit FROM pg_database WHERE datname = $1";
    let limit: Option<i32> = sqlx::query_scalar(limit)
        .bind(name)
        .fetch_optional(&mut *conn)
        .await?;
    let is_invalid = limit == Some(INVALID_DATABASE);
    if is_invalid {
        run(conn, format!("DROP DATABASE IF EXISTS {name}")).await?;
    }
    if is_invalid || limit.is_none() {
        // From `template0`, which nobody can connect to: a session in `template1` would make this fail, and whatever
        // is in `template1` would be copied. Closed until the rights of PUBLIC are revoked: until then any role of the
        // server could connect.
        let attributes = "TEMPLATE template0 ALLOW_CONNECTIONS false";
        run(
            conn,
            format!("CREATE DATABASE {name} OWNER {name} {attributes}"),
        )
        .await?;
    }
    run(conn, format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC")).await?;
    run(conn, format!("GRANT ALL ON DATABASE {name} TO {name}")).await?;
    let attributes = format!("ALLOW_CONNECTIONS true CONNECTION LIMIT {MAX_CONNECTIONS}");
    run(conn, format!("ALTER DATABASE {name} {attributes}")).await
}
