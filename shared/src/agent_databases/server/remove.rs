//! The statements that remove an agent's database and role. Owns: that a removal completes, whatever the agent or
//! another agent did: the owner of a database can put much in the way of its `DROP DATABASE`, and everybody can refer to
//! a role in a way that blocks its `DROP ROLE`.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;
use tracing::{error, warn};

use super::create::INVALID_DATABASE;
use super::statements::{end_sessions, find_role, join_role, run, sqlstate};
use crate::failure::Cause;

/// For what the role left in other databases. Other agents can hold locks there; without a limit they could delay
/// the removal for ever.
const CLEANUP_TIMEOUT: Duration = Duration::from_mins(1);
/// Removing a large object takes a lock, of which the server has a few thousand for all sessions.
const LARGE_OBJECTS_PER_STATEMENT: i32 = 1_000;

pub(super) async fn remove(
    conn: &mut PgConnection,
    options: &PgConnectOptions,
    name: &str,
) -> sqlx::Result<()> {
    let role_exists = find_role(conn, name).await?.is_some();
    if role_exists {
        join_role(conn, name).await?;
        run(conn, format!("ALTER ROLE {name} NOLOGIN PASSWORD NULL")).await?;
    }
    end_sessions(conn, name).await?;
    roll_back_prepared_transactions(conn, options, name).await?;
    drop_database(conn, name).await?;
    if role_exists {
        let cleanup = timeout(CLEANUP_TIMEOUT, clean_databases(conn, options, name));
        if let Ok(cleaned) = cleanup.await {
            cleaned?;
        }
        drop_role(conn, name).await?;
    }
    Ok(())
}

/// A prepared transaction outlives its session, blocks `DROP DATABASE`, and can be ended only in its database and by
/// its owner or a superuser.
async fn roll_back_prepared_transactions(
    conn: &mut PgConnection,
    options: &PgConnectOptions,
    name: &str,
) -> sqlx::Result<()> {
    let prepared: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT database::text, coalesce(quote_ident(owner), 'NONE'), quote_literal(gid)
        FROM pg_prepared_xacts WHERE database = $1 OR owner = $1",
    )
    .bind(name)
    .fetch_all(&mut *conn)
    .await?;
    if prepared.iter().any(|(database, ..)| database == name) {
        let attributes = "ALLOW_CONNECTIONS true CONNECTION LIMIT -1";
        run(conn, format!("ALTER DATABASE {name} {attributes}")).await?;
        run(conn, format!("GRANT CONNECT ON DATABASE {name} TO {name}")).await?;
    }
    for (database, owner, gid) in prepared {
        let options = options.clone().database(&database);
        match roll_back(&options, &owner, &gid).await {
            Err(error) if database != name => {
                let cause = error.class();
                warn!(
                    role = name,
                    database, cause, "a prepared transaction of a removed agent stays"
                );
            }
            result => result?,
        }
    }
    Ok(())
}

async fn roll_back(options: &PgConnectOptions, owner: &str, gid: &str) -> sqlx::Result<()> {
    let mut conn = options.connect().await?;
    run(&mut conn, format!("SET ROLE {owner}")).await?;
    run(&mut conn, format!("ROLLBACK PREPARED {gid}")).await?;
    let _ = conn.close().await;
    Ok(())
}

async fn drop_database(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let limit = "SELECT datconnlimit FROM pg_database WHERE datname = $1";
    let limit: Option<i32> = sqlx::query_scalar(limit)
        .bind(name)
        .fetch_optional(&mut *conn)
        .await?;
    if limit.is_some_and(|limit| limit != INVALID_DATABASE) {
        // The owner can make it a template, which cannot be dropped, and let others in, who could reconnect for ever.
        let attributes = "IS_TEMPLATE false ALLOW_CONNECTIONS false";
        run(conn, format!("ALTER DATABASE {name} {attributes}")).await?;
    }
    run(conn, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
}

/// Removes in every database what the role owns, and every right and policy that names it: every role may grant to
/// every other, and each grant blocks `DROP ROLE`. A database where that fails does not keep the rest from being done.
async fn clean_databases(
    conn: &mut PgConnection,
    options: &PgConnectOptions,
    name: &str,
) -> sqlx::Result<()> {
    // What concerns databases themselves can be removed from any of them.
    let databases: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT d.datname::text FROM pg_shdepend s
        JOIN pg_database d ON d.oid = s.dbid OR (s.dbid = 0 AND d.datname = current_database())
        WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = to_regrole($1)",
    )
    .bind(name)
    .fetch_all(conn)
    .await?;
    for database in databases {
        let options = options.clone().database(&database);
        if let Err(error) = clean_database(&options, name).await {
            let cause = error.class();
            warn!(
                role = name,
                database, cause, "the objects of a removed agent in another database stay there"
            );
        }
    }
    Ok(())
}

async fn clean_database(options: &PgConnectOptions, name: &str) -> sqlx::Result<()> {
    let mut conn = options.connect().await?;
    loop {
        let removed: i64 = sqlx::query_scalar(
            "SELECT count(lo_unlink(oid)) FROM (SELECT oid FROM pg_largeobject_metadata
                WHERE lomowner = to_regrole($1) LIMIT $2) AS objects",
        )
        .bind(name)
        .bind(LARGE_OBJECTS_PER_STATEMENT)
        .fetch_one(&mut conn)
        .await?;
        if removed == 0 {
            break;
        }
    }
    // Others may have built on an object of the role. They lose no more than the role itself could have taken.
    run(&mut conn, format!("DROP OWNED BY {name} CASCADE")).await?;
    let _ = conn.close().await;
    Ok(())
}

/// Drops the role, or leaves it without a login while something of others still refers to it: what is left then is a
/// name that nobody can use, which must not keep the agent from being deleted.
async fn drop_role(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    match run(conn, format!("DROP ROLE IF EXISTS {name}")).await {
        Err(failure) if is_blocked_by_others(&failure) => {
            let cause = failure.class();
            error!(
                role = name,
                cause,
                "the role of a removed agent stays without a login: objects of other roles still refer to it"
            );
            Ok(())
        }
        result => result,
    }
}

/// Objects depend on the role; or another session holds a lock for longer than we wait.
fn is_blocked_by_others(error: &sqlx::Error) -> bool {
    let code = sqlstate(error);
    matches!(code.as_deref(), Some("2BP01" | "55P03" | "57014"))
}
