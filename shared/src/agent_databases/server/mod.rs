//! Databases on one of our Postgres servers: one role and one database per agent, both named `agent_<id>`. Owns:
//! the agent's URI and the connection to the server. Does not own: the statements (`statements`).
//!
//! The URI is known before anything is created, so it can be recorded first: a crash in between loses nothing.

mod statements;

use std::fmt;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use url::Url;

use super::{DatabaseError, DatabaseErrorReason};
use crate::domain::ids::AgentId;
use crate::failure::with_reason;
use statements::{DatabaseSpec, classify, create, is_collision, lock_agent, remove};

/// For one call, including connecting.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
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
    /// Removes the database and the role of this name.
    Remove(&'a str),
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
            .options([("statement_timeout", "10s"), ("lock_timeout", "5s")])
            // Statements hold passwords.
            .disable_statement_logging();
        Some(Self {
            admin,
            options: Box::new(options),
        })
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

    /// Creates the role and the database of an agent's URI, or makes existing ones match it.
    ///
    /// # Errors
    /// [`DatabaseErrorReason::NotConfigured`] if the URI leads to another server.
    pub async fn ensure(&self, uri: &str) -> Result<(), DatabaseError> {
        let spec = self.parse_uri(uri)?;
        self.run(Task::Create(&spec)).await
    }

    /// Removes an agent's database, even while clients are connected to it, and its role. Neither need exist.
    pub async fn delete(&self, agent_id: AgentId) -> Result<(), DatabaseError> {
        self.run(Task::Remove(&name(agent_id))).await
    }

    async fn run(&self, task: Task<'_>) -> Result<(), DatabaseError> {
        let run = async {
            let mut conn = self.options.connect().await?;
            let result = run_until_no_collision(&mut conn, task).await;
            // The result stands, whether the server hears the goodbye or not.
            let _ = conn.close().await;
            result
        };
        timeout(CALL_TIMEOUT, Box::pin(run))
            .await
            .map_err(|_: Elapsed| DatabaseErrorReason::TimedOut)?
            .map_err(classify)
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

/// Runs a task, again while other sessions change the same catalog rows.
async fn run_until_no_collision(conn: &mut PgConnection, task: Task<'_>) -> sqlx::Result<()> {
    let name = match task {
        Task::Create(spec) => &spec.name,
        Task::Remove(name) => name,
    };
    lock_agent(conn, name).await?;
    let mut attempt = 1;
    loop {
        let result = match task {
            Task::Create(spec) => create(conn, spec).await,
            Task::Remove(name) => remove(conn, name).await,
        };
        match result {
            Err(error) if attempt < MAX_ATTEMPTS && is_collision(&error) => attempt += 1,
            result => return result,
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
