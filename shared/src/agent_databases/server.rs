//! Databases on a Postgres server of ours: a role and a database for each agent, both called
//! `agent_<id>`. Owns: the statements. Names come from ids alone; a password is only ever a literal.
//!
//! The agent's URI is known before anything is made, so that it can be recorded first.

use std::fmt;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tracing::warn;
use url::Url;
use uuid::Uuid;

use super::DatabaseError;

/// What one call may take, connecting included.
const WITHIN: Duration = Duration::from_secs(10);
/// Connections that one agent may have.
const CONNECTIONS: u32 = 10;
/// Tries when others change the same catalogs at the same time, and the wait between them.
const TRIES: u32 = 20;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// What an agent's URI takes over of the admin's query. The rest stays here: it can hold a password, too.
const HOW_TO_CONNECT: [&str; 4] = [
    "sslmode",
    "sslrootcert",
    "channel_binding",
    "connect_timeout",
];

/// A Postgres server and the way in as one who may create roles and databases.
#[derive(Clone)]
pub struct Server {
    admin: Url,
    options: Box<PgConnectOptions>,
}

/// Nothing of the address.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

/// What a URI of an agent says.
struct Wanted {
    name: String,
    password: String,
}

/// What there is to do.
#[derive(Clone, Copy)]
enum Work<'a> {
    Create(&'a Wanted),
    Remove(&'a str),
}

impl Server {
    /// A server by the URL of its administrator, which names a host and a user; none for any other.
    /// Nothing is opened.
    #[must_use]
    pub fn new(admin_url: &str) -> Option<Self> {
        let admin: Url = admin_url.parse().ok()?;
        let ours = ["postgres", "postgresql"].contains(&admin.scheme())
            && admin.host_str().is_some_and(|host| !host.is_empty())
            && !admin.username().is_empty();
        let options: PgConnectOptions = admin_url.parse().ok().filter(|_| ours)?;
        let options = options
            .application_name("milady-control-plane")
            .options([("statement_timeout", "10s"), ("lock_timeout", "5s")])
            // Statements hold passwords.
            .disable_statement_logging();
        Some(Self {
            admin,
            options: Box::new(options),
        })
    }

    /// Where an agent finds its database, which need not be there yet. Keep it secret.
    #[must_use]
    pub fn uri(&self, agent_id: Uuid, password: &str) -> String {
        let name = name(agent_id);
        let password = utf8_percent_encode(password, NON_ALPHANUMERIC).to_string();
        let mut uri = self.admin.clone();
        // They cannot fail: there is a host.
        let _ = uri.set_username(&name);
        let _ = uri.set_password(Some(&password));
        uri.set_path(&name);
        uri.set_fragment(None);
        uri.set_query(None);
        let pairs = self.admin.query_pairs();
        let kept: Vec<_> = pairs
            .filter(|(key, _)| HOW_TO_CONNECT.contains(&key.as_ref()))
            .collect();
        if !kept.is_empty() {
            uri.query_pairs_mut().extend_pairs(kept);
        }
        uri.into()
    }

    /// An agent's recorded URI as it reads on this server: with its password, and this server's host and
    /// port. None for one that is no agent's of ours.
    #[must_use]
    pub fn moved(&self, agent_id: Uuid, recorded: &str) -> Option<String> {
        let recorded: Url = recorded.parse().ok()?;
        let ours = recorded.username() == name(agent_id)
            && recorded.path().strip_prefix('/') == Some(name(agent_id).as_str());
        let password = recorded.password().filter(|_| ours)?;
        let password = percent_decode_str(password).decode_utf8().ok()?;
        Some(self.uri(agent_id, &password))
    }

    /// Makes an agent's role and database as its URI says, or makes them so.
    ///
    /// # Errors
    /// [`DatabaseError`]; `NotConfigured` for a URI that leads to another server.
    pub async fn ensure(&self, uri: &str) -> Result<(), DatabaseError> {
        let wanted = self.wanted(uri)?;
        self.work(Work::Create(&wanted)).await
    }

    /// Removes an agent's database, whoever is connected to it, and its role; there may be none.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn drop(&self, agent_id: Uuid) -> Result<(), DatabaseError> {
        self.work(Work::Remove(&name(agent_id))).await
    }

    /// Works over one connection, again while others are at the same catalogs.
    async fn work(&self, work: Work<'_>) -> Result<(), DatabaseError> {
        let done = async {
            let mut conn = self.options.connect().await?;
            let name = match work {
                Work::Create(wanted) => &wanted.name,
                Work::Remove(name) => name,
            };
            queue(&mut conn, name).await?;
            let mut tries = 1;
            let done = loop {
                let done = match work {
                    Work::Create(wanted) => create(&mut conn, wanted).await,
                    Work::Remove(name) => remove(&mut conn, name).await,
                };
                match done {
                    Err(error) if tries < TRIES && is_collision(&error) => tries += 1,
                    done => break done,
                }
                sleep(TRY_AGAIN_AFTER).await;
            };
            // What was done is done, whether the server hears our farewell or not.
            let _ = conn.close().await;
            done
        };
        match timeout(WITHIN, Box::pin(done)).await {
            Ok(done) => done.map_err(|error| kind(&error)),
            Err(_) => Err(DatabaseError::TimedOut),
        }
    }

    /// Reads a URI that [`Self::uri`] made.
    fn wanted(&self, uri: &str) -> Result<Wanted, DatabaseError> {
        let uri: Url = uri.parse().map_err(|_| DatabaseError::Protocol)?;
        let place = |url: &Url| {
            (
                url.host_str().map(str::to_owned),
                url.port().unwrap_or(5432),
            )
        };
        if place(&uri) != place(&self.admin) {
            return Err(DatabaseError::NotConfigured);
        }
        // Only what is an id becomes a name in a statement.
        let id = uri.username().strip_prefix("agent_");
        let id = id.and_then(|id| Uuid::try_parse(id).ok());
        let name = name(id.ok_or(DatabaseError::Protocol)?);
        let password = percent_decode_str(uri.password().unwrap_or_default());
        let password = password.decode_utf8().unwrap_or_default().into_owned();
        if uri.username() != name || uri.path() != format!("/{name}") || password.is_empty() {
            return Err(DatabaseError::Protocol);
        }
        Ok(Wanted { name, password })
    }
}

/// What an agent's role and database are called: letters, digits and an underscore.
fn name(agent_id: Uuid) -> String {
    format!("agent_{}", agent_id.simple())
}

/// A string literal that means the same whatever the session's settings.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Waits for others who work on the same agent, until this session ends. A caller who was cut off is
/// waited for, too: the server first finishes the statement it is at.
async fn queue(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let lock = sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))");
    lock.bind(name).execute(conn).await.map(drop)
}

async fn create(conn: &mut PgConnection, wanted: &Wanted) -> sqlx::Result<()> {
    let Wanted { name, password } = wanted;
    let superuser = role(conn, name).await?;
    if superuser.is_none() {
        // Without the password: a statement that fails stands in the server's log.
        let attributes = "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE";
        run(conn, format!("CREATE ROLE {name} {attributes}")).await?;
    }
    // Who is no superuser must not even name the attribute here.
    let demoted = if superuser == Some(true) {
        "NOSUPERUSER "
    } else {
        ""
    };
    let attributes =
        format!("{demoted}LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT {CONNECTIONS}");
    let password = literal(password);
    run(
        conn,
        format!("ALTER ROLE {name} {attributes} PASSWORD {password}"),
    )
    .await?;
    join(conn, name).await?;
    let exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    let exists = sqlx::query_scalar(exists).bind(name);
    if !exists.fetch_one(&mut *conn).await? {
        // Closed until PUBLIC is out: nobody slips in between.
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

async fn remove(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let exists = role(conn, name).await?.is_some();
    if exists {
        join(conn, name).await?;
    }
    run(conn, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    if exists {
        // What it may have left where PUBLIC could connect: a role that owns something stays.
        run(conn, format!("DROP OWNED BY {name}")).await?;
        run(conn, format!("DROP ROLE IF EXISTS {name}")).await?;
    }
    Ok(())
}

/// Whether a role is a superuser; none if it is not there.
async fn role(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<bool>> {
    let role = sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = $1");
    role.bind(name).fetch_optional(conn).await
}

/// Gives us the role's rights, without which only a superuser could work on what it owns.
async fn join(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let ours = sqlx::query_scalar("SELECT pg_has_role(current_user, $1::name, 'USAGE')");
    if ours.bind(name).fetch_one(&mut *conn).await? {
        return Ok(());
    }
    run(conn, format!("GRANT {name} TO CURRENT_USER")).await
}

async fn run(conn: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    let statement = sqlx::raw_sql(AssertSqlSafe(statement));
    statement.execute(conn).await.map(drop)
}

fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// Somebody else was at the same catalogs: the next try finds them as they then are.
fn is_collision(error: &sqlx::Error) -> bool {
    // There already: database, role, catalog row. Gone already: role, database. In use. XX000 is "tuple
    // concurrently updated".
    const CODES: [&str; 7] = [
        "42P04", "42710", "23505", "42704", "3D000", "55006", "XX000",
    ];
    code(error).is_some_and(|code| CODES.contains(&code.as_str()))
}

fn kind(error: &sqlx::Error) -> DatabaseError {
    let Some(code) = code(error) else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => DatabaseError::Unreachable,
            _ => DatabaseError::Protocol,
        };
    };
    warn!(code, "the server of the agents' databases refused");
    match code.as_str() {
        // Authentication, no such database, rights, and what still depends on the role.
        "28000" | "28P01" | "3D000" | "42501" | "2BP01" => DatabaseError::Refused,
        // Cancelled by the statement's or the lock's time limit.
        "57014" | "55P03" => DatabaseError::TimedOut,
        // Resources, operator, system: too many connections, shutting down, out of space.
        other
            if ["53", "57", "58"]
                .iter()
                .any(|class| other.starts_with(class)) =>
        {
            DatabaseError::Unavailable
        }
        _ if is_collision(error) => DatabaseError::Unavailable,
        _ => DatabaseError::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: Uuid = Uuid::from_u128(0x0192_8f3a_0000_7000_8000_0000_0000_00ab);
    const NAME: &str = "agent_01928f3a0000700080000000000000ab";

    fn server() -> Server {
        let url = "postgresql://root:w0rd@db.example:6432/postgres?sslmode=require&password=w1rd";
        Server::new(url).expect("a server")
    }

    #[test]
    fn a_recorded_uri_follows_the_server_and_keeps_its_password() {
        let uri = server().uri(AGENT, "p@:/?#%41 'q");
        let other = Server::new("postgres://root@elsewhere:1/x").expect("a server");
        let recorded = other.uri(AGENT, "p@:/?#%41 'q");
        assert_eq!(server().moved(AGENT, &recorded), Some(uri.clone()));
        assert_eq!(server().moved(AGENT, &uri), Some(uri.clone()));
        let stranger = Uuid::from_u128(1);
        for foreign in ["", "no", "postgres://root:x@elsewhere/x", uri.as_str()] {
            assert_eq!(server().moved(stranger, foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_uri_keeps_the_place_and_none_of_the_admins_secrets() {
        let uri = server().uri(AGENT, "p@:/?#%41 'q\\ü");
        let password = "p%40%3A%2F%3F%23%2541%20%27q%5C%C3%BC";
        let expected =
            format!("postgresql://{NAME}:{password}@db.example:6432/{NAME}?sslmode=require");
        assert_eq!(uri, expected);
        let Ok(wanted) = server().wanted(&uri) else {
            panic!("it is a URI of ours");
        };
        let read = (wanted.name.as_str(), wanted.password.as_str());
        assert_eq!(read, (NAME, "p@:/?#%41 'q\\ü"));
        let plain = Server::new("postgres://root@[::1]/x").expect("a server");
        assert_eq!(
            plain.uri(AGENT, "p"),
            format!("postgres://{NAME}:p@[::1]/{NAME}")
        );
    }

    #[test]
    fn only_uris_of_our_own_making_are_followed() {
        let good = server().uri(AGENT, "p");
        for (from, to, kind) in [
            ("db.example", "other.example", DatabaseError::NotConfigured),
            ("6432", "6433", DatabaseError::NotConfigured),
            ("//agent_", "//root_", DatabaseError::Protocol),
            ("00ab:p@", "00ac:p@", DatabaseError::Protocol),
            (":p@", "@", DatabaseError::Protocol),
            (
                "//agent_01928f3a",
                "//agent_01928F3A",
                DatabaseError::Protocol,
            ),
            (
                "//agent_",
                "//agent_;DROP TABLE x;",
                DatabaseError::Protocol,
            ),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert_eq!(server().wanted(&bad).err(), Some(kind), "{bad}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_none() {
        for url in [
            "",
            "db.example",
            "mysql://root@db.example/x",
            "postgres://db.example/x",
            "postgres:///x?host=/run&user=root",
        ] {
            assert!(Server::new(url).is_none(), "{url}");
        }
        assert_eq!(format!("{:?}", server()), "Server");
    }

    #[test]
    fn a_literal_is_one_under_all_settings() {
        assert_eq!(literal("it's \\ \"q\""), "E'it''s \\\\ \"q\"'");
    }
}
