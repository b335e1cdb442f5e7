//! Databases on one of our Postgres servers: one role and one database per agent, both named `agent_<id>`. Owns:
//! the agent's URI and the connection to the server. Does not own: the statements (`create`, `remove`, `measure`).
//!
//! The URI is known before anything is created, so it can be recorded first: a crash in between loses nothing.
//!
//! An agent runs other people's code and owns its database, so it may change everything there that an owner may. No
//! statement relies on a setting, a name or a right that an agent can change.

mod create;
mod measure;
mod remove;
mod statements;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tracing::error;
use url::Url;

use super::{DatabaseError, DatabaseErrorReason};
use crate::domain::ids::AgentId;
use crate::failure::with_reason;
use create::DatabaseSpec;
use statements::{classify, is_collision, lock_agent};

pub use measure::{DatabaseSize, MeasuredDatabases};

/// For one creation, including connecting.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);
/// For one removal. `DROP DATABASE` waits for a checkpoint, and an agent may have left any number of objects.
const REMOVE_TIMEOUT: Duration = Duration::from_mins(3);
/// For measuring all databases, which opens each of their files. Below the timeout of the function that does it.
const MEASURE_TIMEOUT: Duration = Duration::from_mins(4);
/// Concurrent calls collide in the catalogs that all databases share. 20 attempts, 50 ms apart, fit well into
/// the timeout.
const MAX_ATTEMPTS: u32 = 20;
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// The parameters that an agent's URI takes over from the administrator's. Others can hold a password.
const PASSED_ON_PARAMETERS: [&str; 4] = [
    "sslmode",
    "sslrootcert",
    "channel_binding",
    "connect_timeout",
];

/// A Postgres server, with the login of a role that may create roles and databases.
#[derive(Clone)]
pub struct Server {
    admin: Url,
    options: Box<PgConnectOptions>,
    allows_control_plane: bool,
}

/// Shows nothing of the address.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

#[derive(Clone, Copy)]
enum Task<'a> {
    Create(&'a DatabaseSpec),
    /// Removes the database and the role of this name. Other databases are reached with these options.
    Remove(&'a str, &'a PgConnectOptions),
}

impl Server {
    /// Connects to nothing yet. `None` if the URL is not a Postgres URL with a host and a user.
    #[must_use]
    pub fn new(admin_url: &str) -> Option<Self> {
        let admin: Url = admin_url.parse().ok()?;
        let is_usable = ["postgres", "postgresql"].contains(&admin.scheme())
            && admin.host_str().is_some_and(|host| !host.is_empty())
            && !admin.username().is_empty();
        let options: PgConnectOptions = admin_url.parse().ok().filter(|_| is_usable)?;
        let options = options
            .application_name("milady-control-plane")
            .options([
                ("lock_timeout", "5s"),
                // The owner of a database chooses the settings of those who connect to it, but not these: our
                // statements run as ourselves, and find no function or operator of the owner's.
                ("role", "none"),
                ("search_path", "pg_catalog,pg_temp"),
                ("default_transaction_read_only", "off"),
            ])
            // Statements hold passwords.
            .disable_statement_logging();
        Some(Self {
            admin,
            options: Box::new(options),
            allows_control_plane: false,
        })
    }

    /// Changes how connections are made, or refuses the address.
    pub fn try_map_options<E>(
        mut self,
        change: impl FnOnce(PgConnectOptions) -> Result<PgConnectOptions, E>,
    ) -> Result<Self, E> {
        self.options = Box::new(change(*self.options)?);
        Ok(self)
    }

    /// Accepts the control plane's own server, too. For a stack that runs on one machine.
    #[must_use]
    pub fn allow_control_plane(mut self, allowed: bool) -> Self {
        self.allows_control_plane = allowed;
        self
    }

    #[must_use]
    pub fn allows_control_plane(&self) -> bool {
        self.allows_control_plane
    }

    /// The URI under which an agent finds its database, whether that exists yet or not. It is a secret.
    #[must_use]
    pub fn uri(&self, agent_id: AgentId, password: &str) -> String {
        let name = name(agent_id);
        let password = utf8_percent_encode(password, NON_ALPHANUMERIC).to_string();
        let mut uri = self.admin.clone();
        // Setting a user and a password fails only for URLs without a host.
        let _ = uri.set_username(&name);
        let _ = uri.set_password(Some(&password));
        uri.set_path(&name);
        uri.set_fragment(None);
        uri.set_query(None);
        let parameters: Vec<_> = self
            .admin
            .query_pairs()
            .filter(|(key, _)| PASSED_ON_PARAMETERS.contains(&key.as_ref()))
            .collect();
        if !parameters.is_empty() {
            uri.query_pairs_mut().extend_pairs(parameters);
        }
        uri.into()
    }

    /// An agent's recorded URI with this server's host, port and parameters and the recorded password: the
    /// server may have moved. `None` if the recorded URI does not have the form of [`Self::uri`].
    #[must_use]
    pub fn uri_on_this_server(&self, agent_id: AgentId, recorded: &str) -> Option<String> {
        let recorded: Url = recorded.parse().ok()?;
        let name = name(agent_id);
        let names_agent =
            recorded.username() == name && recorded.path().strip_prefix('/') == Some(name.as_str());
        let password = recorded.password().filter(|_| names_agent)?;
        let password = percent_decode_str(password).decode_utf8().ok()?;
        Some(self.uri(agent_id, &password))
    }

    /// Creates the role and the database of an agent's URI, or makes existing ones match it. `control_plane` is when
    /// the control plane's own server was started; `None` if this may be the same server.
    ///
    /// # Errors
    /// [`DatabaseErrorReason::NotConfigured`] if the URI leads to another server;
    /// [`DatabaseErrorReason::ControlPlaneServer`] if this is the control plane's server.
    pub async fn ensure(
        &self,
        uri: &str,
        control_plane: Option<DateTime<Utc>>,
    ) -> Result<(), DatabaseError> {
        let spec = self.parse_uri(uri)?;
        within(CREATE_TIMEOUT, async {
            let options = self.options(CREATE_TIMEOUT);
            let mut conn = options.connect().await.map_err(classify)?;
            if let Some(control_plane) = control_plane {
                refuse_control_plane(&mut conn, control_plane).await?;
            }
            let created = run_until_no_collision(&mut conn, Task::Create(&spec)).await;
            close(conn).await;
            created
        })
        .await
    }

    /// Removes an agent's database, even while clients are connected to it, and its role. Neither need exist. A role
    /// that objects of others still refer to stays, without a login.
    pub async fn delete(&self, agent_id: AgentId) -> Result<(), DatabaseError> {
        let name = name(agent_id);
        within(REMOVE_TIMEOUT, async {
            let options = self.options(REMOVE_TIMEOUT);
            let mut conn = options.connect().await.map_err(classify)?;
            let task = Task::Remove(&name, &options);
            let removed = run_until_no_collision(&mut conn, task).await;
            close(conn).await;
            removed
        })
        .await
    }

    /// Ends the sessions of an agent's role and those in its database.
    pub async fn end_sessions(&self, agent_id: AgentId) -> Result<(), DatabaseError> {
        let name = name(agent_id);
        within(CREATE_TIMEOUT, async {
            let options = self.options(CREATE_TIMEOUT);
            let mut conn = options.connect().await.map_err(classify)?;
            let ended = statements::end_sessions(&mut conn, &name).await;
            close(conn).await;
            ended.map_err(classify)
        })
        .await
    }

    /// The sizes of all agents' databases.
    pub async fn measure(&self) -> Result<MeasuredDatabases, DatabaseError> {
        within(MEASURE_TIMEOUT, async {
            let options = self.options(MEASURE_TIMEOUT);
            let mut conn = options.connect().await.map_err(classify)?;
            let measured = measure::measure(&mut conn).await.map_err(classify);
            close(conn).await;
            measured
        })
        .await
    }

    /// With a limit for each statement, in case that we are cut off while one runs.
    fn options(&self, statement_timeout: Duration) -> PgConnectOptions {
        let timeout = format!("{}s", statement_timeout.as_secs());
        let options = self.options.as_ref().clone();
        options.options([("statement_timeout", timeout)])
    }

    /// Reads a URI that [`Self::uri`] made.
    fn parse_uri(&self, uri: &str) -> Result<DatabaseSpec, DatabaseError> {
        let uri: Url = uri
            .parse()
            .map_err(with_reason(DatabaseErrorReason::Protocol))?;
        if host_and_port(&uri) != host_and_port(&self.admin) {
            return Err(DatabaseErrorReason::NotConfigured.into());
        }
        // The name goes into statements as it is, so it is built from a parsed id, never taken from the URI.
        let agent_id = uri.username().strip_prefix("agent_");
        let agent_id = agent_id.and_then(|id| id.parse().ok());
        let name = name(agent_id.ok_or(DatabaseErrorReason::Protocol)?);
        let password = percent_decode_str(uri.password().unwrap_or_default());
        let password = password.decode_utf8().unwrap_or_default().into_owned();
        if uri.username() != name || uri.path() != format!("/{name}") || password.is_empty() {
            return Err(DatabaseErrorReason::Protocol.into());
        }
        Ok(DatabaseSpec { name, password })
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    timeout(limit, Box::pin(call))
        .await
        .map_err(|_: Elapsed| DatabaseErrorReason::TimedOut)?
}

/// The result stands, whether the server hears the goodbye or not.
async fn close(conn: PgConnection) {
    let _ = conn.close().await;
}

/// Fails if this is the control plane's own server. A running server is known by the microsecond of its start: its
/// address may differ, its system identifier is also that of its copies, and managed servers may hide the latter.
async fn refuse_control_plane(
    conn: &mut PgConnection,
    control_plane: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let start = sqlx::query_scalar("SELECT pg_postmaster_start_time()");
    let start: DateTime<Utc> = start.fetch_one(conn).await.map_err(classify)?;
    if start != control_plane {
        return Ok(());
    }
    error!(
        "AGENT_DATABASE_ADMIN_URL leads to the control plane's own server; agents run other people's code and need \
        another server"
    );
    Err(DatabaseErrorReason::ControlPlaneServer.into())
}

/// Runs a task, again while other sessions change the same catalog rows.
async fn run_until_no_collision(
    conn: &mut PgConnection,
    task: Task<'_>,
) -> Result<(), DatabaseError> {
    let name = match task {
        Task::Create(spec) => &spec.name,
        Task::Remove(name, _) => name,
    };
    lock_agent(conn, name).await.map_err(classify)?;
    let mut attempt = 1;
    loop {
        let result = match task {
            Task::Create(spec) => create::create(conn, spec).await,
            Task::Remove(name, options) => remove::remove(conn, options, name).await,
        };
        match result {
            Err(error) if attempt < MAX_ATTEMPTS && is_collision(&error) => attempt += 1,
            result => return result.map_err(classify),
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// The name of an agent's role and database. It holds only letters, digits and an underscore.
fn name(agent_id: AgentId) -> String {
    format!("agent_{}", agent_id.uuid().simple())
}

fn host_and_port(url: &Url) -> (Option<&str>, u16) {
    (url.host_str(), url.port().unwrap_or(5432))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const AGENT: AgentId = AgentId::new(Uuid::from_u128(0x0192_8f3a_0000_7000_8000_0000_0000_00ab));
    const NAME: &str = "agent_01928f3a0000700080000000000000ab";

    fn server() -> Server {
        let url = "postgresql://root:w0rd@db.example:6432/postgres?sslmode=require&password=w1rd";
        Server::new(url).expect("a server")
    }

    #[test]
    fn a_recorded_uri_moves_to_this_server_and_keeps_its_password() {
        let uri = server().uri(AGENT, "p@:/?#%41 'q");
        let other = Server::new("postgres://root@elsewhere:1/x").expect("a server");
        let recorded = other.uri(AGENT, "p@:/?#%41 'q");
        assert_eq!(
            server().uri_on_this_server(AGENT, &recorded),
            Some(uri.clone())
        );
        assert_eq!(server().uri_on_this_server(AGENT, &uri), Some(uri.clone()));
        let other_agent = AgentId::new(Uuid::from_u128(1));
        for foreign in ["", "no", "postgres://root:x@elsewhere/x", uri.as_str()] {
            assert_eq!(
                server().uri_on_this_server(other_agent, foreign),
                None,
                "{foreign}"
            );
        }
    }

    #[test]
    fn a_uri_has_the_servers_address_and_none_of_the_admins_secrets() {
        let uri = server().uri(AGENT, "p@:/?#%41 'q\\ü");
        let password = "p%40%3A%2F%3F%23%2541%20%27q%5C%C3%BC";
        let expected =
            format!("postgresql://{NAME}:{password}@db.example:6432/{NAME}?sslmode=require");
        assert_eq!(uri, expected);
        let Ok(spec) = server().parse_uri(&uri) else {
            panic!("the URI was made by this server");
        };
        assert_eq!(spec.name, NAME);
        assert_eq!(spec.password, "p@:/?#%41 'q\\ü");
        let plain = Server::new("postgres://root@[::1]/x").expect("a server");
        assert_eq!(
            plain.uri(AGENT, "p"),
            format!("postgres://{NAME}:p@[::1]/{NAME}")
        );
    }

    #[test]
    fn only_uris_that_this_server_made_are_parsed() {
        let good = server().uri(AGENT, "p");
        for (from, to, reason) in [
            (
                "db.example",
                "other.example",
                DatabaseErrorReason::NotConfigured,
            ),
            ("6432", "6433", DatabaseErrorReason::NotConfigured),
            ("//agent_", "//root_", DatabaseErrorReason::Protocol),
            ("00ab:p@", "00ac:p@", DatabaseErrorReason::Protocol),
            (":p@", "@", DatabaseErrorReason::Protocol),
            (
                "//agent_01928f3a",
                "//agent_01928F3A",
                DatabaseErrorReason::Protocol,
            ),
            (
                "//agent_",
                "//agent_;DROP TABLE x;",
                DatabaseErrorReason::Protocol,
            ),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            let error = server().parse_uri(&bad).err();
            assert_eq!(error.map(|error| error.reason()), Some(reason), "{bad}");
        }
    }

    #[test]
    fn only_postgres_urls_with_host_and_user_are_accepted() {
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
}
