//! The role that the functions log in as. Owns: its rights, its settings, and which roles are refused.

use chrono::{DateTime, Utc};
use postgres_protocol::password::scram_sha_256;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor, PgConnection, Postgres};
use tracing::warn;

use crate::db::settings::{SETTINGS, wrong_settings};
use crate::db::{self, Connection, Database};

/// The tables that the functions share with other applications, and what they may do there beside reading. The view
/// `cloud.shared_objects` names the same tables.
const SHARED_TABLES: [(&str, &[&str]); 10] = [
    ("organizations", &[]),
    ("users", &[]),
    ("api_keys", &[]),
    ("admin_users", &[]),
    ("milady_sandboxes", &["INSERT", "UPDATE", "DELETE"]),
    ("milady_sandbox_backups", &["INSERT", "DELETE"]),
    ("docker_nodes", &["INSERT", "UPDATE", "DELETE"]),
    ("jobs", &["INSERT", "UPDATE"]),
    ("credit_transactions", &["INSERT"]),
    ("milady_pairing_tokens", &["INSERT", "UPDATE", "DELETE"]),
];
/// What else the functions may do, and no more.
const RIGHTS: [&str; 32] = [
    "UPDATE (credit_balance, updated_at) ON public.organizations",
    // No wallet and no admin role: nobody becomes a super admin through a function.
    "INSERT (name, slug, credit_balance) ON public.organizations",
    "INSERT (email, name, organization_id, role) ON public.users",
    "INSERT (name, key, key_hash, key_prefix, organization_id, user_id, permissions) ON public.api_keys",
    "UPDATE (last_used_at, usage_count, is_active, updated_at) ON public.api_keys",
    "USAGE ON SCHEMA cloud",
    "SELECT, INSERT, UPDATE ON cloud.usage_spans, cloud.usage_days, cloud.ledger_days, cloud.billing_findings",
    "SELECT, INSERT ON cloud.ledger_entries, cloud.usage_charges",
    "SELECT, INSERT, UPDATE ON cloud.billing_accounts",
    "SELECT, INSERT, UPDATE ON cloud.billing_runs, cloud.fleet_leases",
    "SELECT, INSERT, UPDATE ON cloud.outbox_events",
    "SELECT, INSERT, UPDATE (result, details) ON cloud.admin_audit_log",
    "SELECT, INSERT, UPDATE, DELETE ON cloud.idempotency_keys",
    "SELECT ON cloud.member_roles",
    "SELECT, INSERT, DELETE ON cloud.ended_sessions",
    "SELECT, INSERT, UPDATE ON cloud.request_counts",
    "SELECT, INSERT, UPDATE ON cloud.organization_limits",
    "SELECT, INSERT, DELETE ON cloud.open_streams",
    "SELECT, INSERT, UPDATE (running_until), DELETE ON cloud.snapshot_requests",
    "SELECT (organization_id, billing_email) ON public.organization_billing",
    "SELECT, INSERT, UPDATE ON cloud.organization_settings, cloud.host_upkeep",
    "SELECT, INSERT, UPDATE, DELETE ON cloud.mail_deliveries",
    // Only the release before this one uses cloud.mail_suppressions.
    "SELECT, INSERT, DELETE ON cloud.mail_suppressions, cloud.suppressed_addresses, cloud.product_event_batches",
    "SELECT, INSERT, UPDATE, DELETE ON cloud.organization_webhooks, cloud.webhook_deliveries",
    "SELECT, UPDATE, DELETE ON cloud.tombstones",
    "SELECT, INSERT, UPDATE, DELETE ON cloud.resume_attempts, cloud.resume_notices, cloud.fleet_discrepancies,
        cloud.unread_hosts, cloud.host_withdrawals, cloud.agent_moves, cloud.lost_agents, cloud.failed_starts,
        cloud.host_suspicions, cloud.container_suspicions, cloud.ailing_containers, cloud.container_deaths,
        cloud.image_roll_outs, cloud.image_restarts",
    "SELECT, INSERT, UPDATE ON cloud.agent_databases, cloud.agent_environments",
    "SELECT, INSERT, UPDATE, DELETE ON cloud.daily_backups",
    "SELECT, INSERT, DELETE ON cloud.backup_objects",
    "SELECT ON cloud.billing_adoption, cloud.prices, cloud.shared_objects, cloud.shared_objects_made",
    "USAGE ON SEQUENCE cloud.ledger_seq",
    "EXECUTE ON FUNCTION cloud.billing_clock(),
        cloud.metered_kind(text, text, timestamptz, timestamptz, boolean), cloud.own_rate(text, numeric),
        cloud.list_price(text, timestamptz), cloud.open_span_mark(cloud.usage_spans),
        cloud.ensure_partitions(timestamptz), cloud.drop_partition(text, timestamptz),
        cloud.delete_settled_spans(integer), cloud.misplaced_rows(text), cloud.oldest_month(text),
        cloud.charges_of_keys(uuid, bigint[], timestamptz[])",
];

fn shared_tables() -> Vec<String> {
    let tables = SHARED_TABLES.iter();
    tables.map(|(table, _)| (*table).to_owned()).collect()
}

/// How the functions log in.
#[derive(Clone)]
pub struct RuntimeLogin {
    pub options: PgConnectOptions,
    pub password: Option<String>,
    /// How many connections the functions may have at the same time. `None` leaves the role's limit as it is.
    pub max_connections: Option<u32>,
}

impl std::fmt::Debug for RuntimeLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RuntimeLogin")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error(
        "the role of RUNTIME_DATABASE_URL {0}; the functions must not be able to do what an owner can"
    )]
    TooPowerful(&'static str),
    /// `db-migrate` gave it no such right, and may not be allowed to revoke it.
    #[error(
        "the role of RUNTIME_DATABASE_URL has rights that the functions do not need: {0}; revoke them, \
        or use a role that only the functions have"
    )]
    SuperfluousRights(String),
    #[error("RUNTIME_DATABASE_URL leads to another database than OWNER_DATABASE_URL")]
    OtherDatabase,
    #[error(
        "row security hides rows from the role of RUNTIME_DATABASE_URL, in {0}; disable it there"
    )]
    RowSecurity(String),
    #[error(
        "the role of OWNER_DATABASE_URL may not change that of RUNTIME_DATABASE_URL: it needs CREATEROLE, and from \
        Postgres 16 on ADMIN OPTION on a role that it did not create"
    )]
    Owner(#[source] sqlx::Error),
    #[error(
        "the role of RUNTIME_DATABASE_URL was given settings that its sessions do not have: {0}; \
        a pooler must not set them"
    )]
    Settings(String),
    #[error("the role of RUNTIME_DATABASE_URL cannot log in ({})", db::error_class(.0))]
    Login(#[source] sqlx::Error),
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for RoleError {
    fn from(error: sqlx::Error) -> Self {
        if db::is_forbidden(&error) {
            Self::Owner(error)
        } else {
            Self::Database(error)
        }
    }
}

/// Creates the role unless it exists, and gives it its rights and settings. Safe to repeat. An existing role keeps its
/// password.
pub async fn prepare_runtime_role(owner: &Database, login: &RuntimeLogin) -> Result<(), RoleError> {
    let name = login.options.get_username();
    let mut tx = owner.begin().await?;
    // Two calls must not change the same rights at the same time.
    let lock = "LOCK TABLE cloud.billing_adoption IN SHARE ROW EXCLUSIVE MODE";
    run(&mut tx, lock.to_owned()).await?;
    if !role_exists(&mut tx, name).await? {
        create(&mut tx, name, login.password.as_deref()).await?;
    }
    refuse_powerful(&mut tx, name).await?;
    close(&mut tx, name).await?;
    grant(&mut tx, name).await?;
    if let Some(limit) = login.max_connections {
        let role = quote_identifier(name);
        run(
            &mut tx,
            format!("ALTER ROLE {role} CONNECTION LIMIT {limit}"),
        )
        .await?;
    }
    refuse_superfluous(&mut tx, name).await?;
    let identity = DatabaseIdentity::read(&mut *tx).await?;
    tx.commit().await?;
    check_login(login, &identity).await
}

async fn role_exists(conn: &mut Connection, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1) AS "exists!""#,
        name
    )
    .fetch_one(conn)
    .await
}

async fn create(conn: &mut Connection, name: &str, password: Option<&str>) -> sqlx::Result<()> {
    // The server may log the statement, so it holds the verifier.
    let password = password.map_or_else(String::new, |password| {
        let verifier = scram_sha_256(password.as_bytes());
        format!(" PASSWORD {}", quote_literal(&verifier))
    });
    let attributes = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";
    let sql = format!(
        "CREATE ROLE {} {attributes}{password}",
        quote_identifier(name)
    );
    conn.savepoint().await?;
    match run(conn, sql).await {
        // Another deployment on this server has created it meanwhile.
        Err(error) if db::is_unique_violation(&error) || db::is_duplicate_object(&error) => {
            conn.rollback_to_savepoint().await
        }
        result => result,
    }
}

/// Refuses a role that can do, or can become a role that can do, more than any right on a table allows.
async fn refuse_powerful(conn: &mut Connection, name: &str) -> Result<(), RoleError> {
    let powers = sqlx::query!(
        r#"WITH role AS (
            SELECT r.* FROM pg_catalog.pg_roles self, pg_catalog.pg_roles r
            WHERE self.rolname = $1 AND (r.oid = self.oid
                OR NOT self.rolsuper AND pg_catalog.pg_has_role(self.oid, r.oid, 'MEMBER'))),
        owner AS (
            SELECT datdba AS oid FROM pg_catalog.pg_database
            WHERE datname = pg_catalog.current_database()
            UNION SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname IN ('public', 'cloud')
            UNION SELECT c.relowner FROM pg_catalog.pg_class c
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname IN ('public', 'cloud')
            UNION SELECT p.proowner FROM pg_catalog.pg_proc p
                JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'cloud')
        SELECT pg_catalog.bool_or(rolsuper) AS "is_superuser!",
            pg_catalog.bool_or(oid IN (SELECT oid FROM owner)) AS "is_owner!",
            pg_catalog.bool_or(rolcreaterole OR rolcreatedb) AS "creates_roles!",
            pg_catalog.bool_or(rolreplication OR rolbypassrls OR rolname LIKE 'pg\_%' OR rolname IN
                ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin', 'neon_superuser'))
                AS "passes_by_rights!"
        FROM role"#,
        name
    )
    .fetch_one(conn)
    .await?;
    let problems = [
        (powers.is_superuser, "is or can become a superuser"),
        (
            powers.is_owner,
            "is or can become an owner of the database, of a schema or of a table",
        ),
        (powers.creates_roles, "may create roles or databases"),
        (
            powers.passes_by_rights,
            "may read or write without having the right",
        ),
    ];
    match problems.into_iter().find(|(applies, _)| *applies) {
        Some((_, problem)) => Err(RoleError::TooPowerful(problem)),
        None => Ok(()),
    }
}

/// Takes from everybody else what would make them the owner: any right in `cloud`, where default privileges may have
/// given some, and the rights to put triggers on our tables, which cascades would run as the owner, to refer to them, or
/// to empty them.
async fn close(conn: &mut Connection, name: &str) -> sqlx::Result<()> {
    let open = sqlx::query!(
        r#"WITH granted AS (
            SELECT 'SCHEMA cloud' AS object, a.grantee, n.nspowner AS owner
                FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
                WHERE n.nspname = 'cloud'
            UNION SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass,
                    a.grantee, c.relowner
                FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
                WHERE c.relnamespace = 'cloud'::regnamespace
            UNION SELECT 'TABLE ' || c.oid::regclass, a.grantee, c.relowner
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid
                CROSS JOIN pg_catalog.aclexplode(t.attacl) a
                WHERE c.relnamespace = 'cloud'::regnamespace
            UNION SELECT 'FUNCTION ' || p.oid::regprocedure, a.grantee, p.proowner
                FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a
                WHERE p.pronamespace = 'cloud'::regnamespace)
        SELECT 'ALL ON ' || object AS "rights!",
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS "grantee!"
        FROM granted WHERE grantee <> owner AND pg_catalog.pg_get_userbyid(grantee) <> $1
        UNION SELECT 'TRIGGER, REFERENCES, TRUNCATE ON TABLE ' || c.oid::regclass,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY($2) AND a.grantee <> c.relowner
            AND a.privilege_type IN ('TRIGGER', 'REFERENCES', 'TRUNCATE')
            AND pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE')"#,
        name,
        &shared_tables()
    )
    .fetch_all(&mut *conn)
    .await?;
    for right in open {
        let (rights, grantee) = (right.rights, right.grantee);
        warn!(rights, grantee, "{rights} is revoked from {grantee}");
        run(conn, format!("REVOKE {rights} FROM {grantee}")).await?;
    }
    Ok(())
}

/// Gives the role its rights and settings. The rights of an earlier version end with it.
async fn grant(conn: &mut Connection, name: &str) -> sqlx::Result<()> {
    let role = quote_identifier(name);
    let held = sqlx::query_scalar!(
        r#"SELECT c.oid::regclass::text AS "name!" FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_roles r ON r.rolname = $1
        WHERE pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE') AND c.relkind <> 'S' AND (
            EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) a WHERE a.grantee = r.oid)
            OR EXISTS (SELECT FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a
                WHERE t.attrelid = c.oid AND a.grantee = r.oid))"#,
        name
    )
    .fetch_all(&mut *conn)
    .await?;
    for table in held {
        run(conn, format!("REVOKE ALL ON {table} FROM {role}")).await?;
    }
    for objects in ["SEQUENCES", "FUNCTIONS"] {
        let sql = format!("REVOKE ALL ON ALL {objects} IN SCHEMA cloud FROM {role}");
        run(conn, sql).await?;
    }
    run(conn, format!("REVOKE ALL ON SCHEMA cloud FROM {role}")).await?;
    for (table, privileges) in SHARED_TABLES {
        let privileges = [&["SELECT"], privileges].concat().join(", ");
        let sql = format!("GRANT {privileges} ON public.{table} TO {role}");
        run(conn, sql).await?;
    }
    for right in RIGHTS {
        run(conn, format!("GRANT {right} TO {role}")).await?;
    }
    let database = quote_identifier(&current_database(conn).await?);
    let existing = sqlx::query!(
        r#"SELECT pg_catalog.to_regclass('public.user_characters') IS NOT NULL AS "characters!",
            pg_catalog.has_schema_privilege($1, 'public', 'USAGE') AS "schema!",
            pg_catalog.has_database_privilege($1, pg_catalog.current_database(), 'CONNECT')
                AS "database!""#,
        name
    )
    .fetch_one(&mut *conn)
    .await?;
    let others = [
        (
            existing.characters,
            "SELECT ON public.user_characters".to_owned(),
        ),
        // Every role has these two, unless somebody revoked them; then their owner has to grant them.
        (!existing.schema, "USAGE ON SCHEMA public".to_owned()),
        (
            !existing.database,
            format!("CONNECT ON DATABASE {database}"),
        ),
    ];
    for (_, right) in others.into_iter().filter(|(is_needed, _)| *is_needed) {
        run(conn, format!("GRANT {right} TO {role}")).await?;
    }
    for (setting, value) in SETTINGS {
        // A list of schemas is not one quoted word.
        let value = match setting {
            "search_path" => value.to_owned(),
            _ => quote_literal(value),
        };
        let sql = format!("ALTER ROLE {role} IN DATABASE {database} SET {setting} = {value}");
        run(conn, sql).await?;
    }
    Ok(())
}

/// Refuses a role that has more rights all the same: another owner gave them, or PUBLIC or a role of which it is a member
/// has them.
async fn refuse_superfluous(conn: &mut Connection, name: &str) -> Result<(), RoleError> {
    let writes = SHARED_TABLES.iter().flat_map(|(table, privileges)| {
        privileges
            .iter()
            .map(move |privilege| format!("{privilege} ON {table}"))
    });
    let rights = sqlx::query_scalar!(
        r#"SELECT r.right_of AS "right!" FROM (
            SELECT privilege || ' ON ' || c.relname AS right_of
            FROM pg_catalog.pg_class c,
                UNNEST(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
            WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY($2)
                AND pg_catalog.has_table_privilege($1, c.oid, privilege)
            UNION SELECT a.privilege_type || ' ON ' || c.oid::regclass
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            CROSS JOIN pg_catalog.aclexplode(c.relacl) a
            WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'cloud')
                AND NOT (n.nspname = 'public' AND c.relname = ANY($2 || ARRAY['user_characters']))
                AND a.grantee <> 0 AND pg_catalog.pg_has_role($1, a.grantee, 'MEMBER')) AS r
        WHERE r.right_of <> ALL($3) ORDER BY 1 LIMIT 10"#,
        name,
        &shared_tables(),
        &writes.collect::<Vec<_>>()
    )
    .fetch_all(conn)
    .await?;
    if rights.is_empty() {
        Ok(())
    } else {
        Err(RoleError::SuperfluousRights(rights.join(", ")))
    }
}

async fn current_database(conn: &mut Connection) -> sqlx::Result<String> {
    sqlx::query_scalar!(r#"SELECT pg_catalog.current_database()::text AS "name!""#)
        .fetch_one(conn)
        .await
}

/// Tells one database from every other one. A restored copy has the identifiers of its original, but another server.
#[derive(PartialEq, Eq, sqlx::FromRow)]
struct DatabaseIdentity {
    server_started_at: DateTime<Utc>,
    database: i64,
}

impl DatabaseIdentity {
    async fn read<'c>(conn: impl Executor<'c, Database = Postgres>) -> sqlx::Result<Self> {
        sqlx::query_as(
            "SELECT pg_catalog.pg_postmaster_start_time() AS server_started_at, oid::bigint AS database
            FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()",
        )
        .persistent(false)
        .fetch_one(conn)
        .await
    }
}

/// Logs in as the functions do.
async fn check_login(login: &RuntimeLogin, expected: &DatabaseIdentity) -> Result<(), RoleError> {
    // A pooler may stand between, which refuses this parameter.
    let options = login.options.clone().extra_float_digits(None);
    let connected = PgConnection::connect_with(&options).await;
    let mut connection = connected.map_err(RoleError::Login)?;
    let wrong = wrong_settings(&mut connection, &SETTINGS).await;
    let wrong = wrong.map_err(RoleError::Login)?;
    let mut tx = connection.begin().await.map_err(RoleError::Login)?;
    let identity = DatabaseIdentity::read(&mut *tx).await;
    if identity.map_err(RoleError::Login)? != *expected {
        return Err(RoleError::OtherDatabase);
    }
    let hidden: Option<String> = sqlx::query_scalar(
        "SELECT pg_catalog.string_agg(relname, ', ' ORDER BY relname) FROM pg_catalog.pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname = ANY($1)
            AND pg_catalog.row_security_active(oid)",
    )
    .persistent(false)
    .bind(shared_tables())
    .fetch_one(&mut *tx)
    .await
    .map_err(RoleError::Login)?;
    if let Some(tables) = hidden {
        return Err(RoleError::RowSecurity(tables));
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(RoleError::Settings(wrong.join(", ")))
    }
}

/// Runs a statement whose identifiers and literals are quoted.
async fn run(conn: &mut Connection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quote_literal(text: &str) -> String {
    // The form with E is read alike whatever the server's `standard_conforming_strings` says.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
