//! Access to Postgres that works through any connection pooler. Owns: how connections are kept and replaced, and how
//! statements are sent.
//!
//! A pooler in transaction mode may send each transaction to another server, so nothing here belongs to a session:
//! every statement runs inside a transaction, and none is prepared under a name. A statement without a name is safe
//! only inside a transaction, because the driver sends it in two messages and the pooler may serve another client
//! between them.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
    Postgres,
};
use sqlx::{AssertSqlSafe, Connection as _, Either, Execute, Executor, SqlStr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::{DatabaseFailure, classify};
use super::idle::{Idle, LastUse, TICK};
use super::login::{Login, RenewedLogin};
use super::settings::{SETTINGS, wrong_settings};

/// How long a fresh connection may take to begin a transaction.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was not used for this long may have died unnoticed: its function was frozen, or the server is no
/// longer the primary.
const DOUBTFUL_AFTER: Duration = Duration::from_secs(1);
/// How long a doubtful connection may take to begin a transaction before it is replaced.
const REPLACE_AFTER: Duration = Duration::from_millis(500);
/// How long a lone statement's transaction may wait for its `COMMIT`. A function that is frozen between the statement
/// and its `COMMIT` holds its locks no longer than that, as if the statement had failed.
const LONE_TIMEOUT: &str = "2s";
/// How long an abandoned transaction may take to roll back before its connection is closed.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(1);

/// What a function does with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// One request or event at a time, under the limits of the login role.
    Requests,
    /// Four batches at a time. A statement may take two minutes, and has enough memory to join all agents.
    BillingRun,
    /// What `db-migrate` does as the role that owns the tables, which has no settings of its own. A statement may take
    /// any time.
    Deployment,
}

impl Workload {
    fn max_connections(self) -> usize {
        match self {
            Self::Requests | Self::Deployment => 1,
            Self::BillingRun => 4,
        }
    }

    /// How long a caller waits for a connection. The billing run waits longer than any request.
    fn connect_timeout(self) -> Duration {
        match self {
            Self::Requests | Self::Deployment => Duration::from_secs(5),
            Self::BillingRun => Duration::from_mins(1),
        }
    }

    /// A standby refuses to begin `READ WRITE`, so a server that is no longer the primary is noticed before anything
    /// else is sent.
    fn begin(self) -> &'static str {
        match self {
            Self::Requests => "BEGIN READ WRITE",
            Self::BillingRun => {
                "BEGIN READ WRITE; SET LOCAL statement_timeout = '2min'; SET LOCAL work_mem = '32MB'"
            },
            Self::Deployment => {
                "BEGIN READ WRITE; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL TimeZone = 'UTC';
                SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '5s'"
            }
        }
    }
}

/// The database. Connects when it is first used, and keeps its connections.
#[derive(Clone)]
pub struct Database(Arc<Pool>);

struct Pool {
    login: Login,
    workload: Workload,
    permits: Arc<Semaphore>,
    idle: Mutex<Idle>,
    settings_checked: AtomicBool,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

impl Database {
    #[must_use]
    pub fn new(options: PgConnectOptions, workload: Workload) -> Self {
        Self::with_login(Login::new(options, None), workload)
    }

    /// Reads the login again when the server refuses it, at most every 30 seconds.
    #[must_use]
    pub fn renewing(options: PgConnectOptions, workload: Workload, renew: RenewedLogin) -> Self {
        Self::with_login(Login::new(options, Some(renew)), workload)
    }

    fn with_login(login: Login, workload: Workload) -> Self {
        Self(Arc::new(Pool {
            login,
            workload,
            permits: Arc::new(Semaphore::new(workload.max_connections())),
            idle: Mutex::default(),
            settings_checked: AtomicBool::new(false),
        }))
    }

    /// Where and as whom it connects.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.0.login.options()
    }

    /// Begins a transaction. Dropping it rolls it back.
    pub async fn begin(&self) -> sqlx::Result<Transaction> {
        let open = self.open(self.0.workload.begin().to_owned()).await?;
        Ok(Transaction(Connection(Mode::Open(open))))
    }

    /// Runs each statement in a transaction of its own. No connection is held between them.
    #[must_use]
    pub fn statements(&self) -> Connection {
        Connection(Mode::Lone(self.clone(), Planning::OfRole))
    }

    /// Like [`Self::statements`], for statements that read few of a table's many partitions: planned for their values,
    /// they need not look at the others.
    #[must_use]
    pub fn statements_planned_for_values(&self) -> Connection {
        Connection(Mode::Lone(self.clone(), Planning::ForValues))
    }

    async fn open(&self, begin: String) -> sqlx::Result<OpenTransaction> {
        let connect_timeout = self.0.workload.connect_timeout();
        let permit = timeout(connect_timeout, Arc::clone(&self.0.permits).acquire_owned());
        let permit = permit.await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let connection = loop {
            let Some(idle) = self.lock_idle().take() else {
                break timeout(connect_timeout, self.connect_and_begin(&begin))
                    .await
                    .map_err(|_| sqlx::Error::PoolTimedOut)??;
            };
            let is_fresh = idle
                .since
                .is_some_and(|since| since.elapsed() < DOUBTFUL_AFTER);
            let limit = if is_fresh {
                BEGIN_TIMEOUT
            } else {
                REPLACE_AFTER
            };
            let mut connection = idle.connection;
            // Whatever is wrong with an old connection, a new one tells whether the database can be used.
            if let Ok(Ok(_)) =
                timeout(limit, connection.execute(AssertSqlSafe(begin.as_str()))).await
            {
                break connection;
            }
        };
        Ok(OpenTransaction {
            connection: Some(connection),
            database: self.clone(),
            permit: Some(permit),
        })
    }

    async fn connect_and_begin(&self, begin: &str) -> sqlx::Result<PgConnection> {
        let mut connection = self.0.login.connect().await?;
        self.check_settings(&mut connection).await?;
        // A pooler can give out a session that the server is just closing. Nothing was sent on it.
        if let Err(error) = connection.execute(AssertSqlSafe(begin)).await {
            if classify(&error) != DatabaseFailure::Unavailable {
                return Err(error);
            }
            connection = self.0.login.connect().await?;
            connection.execute(AssertSqlSafe(begin)).await?;
        }
        Ok(connection)
    }

    /// Logs which settings the role lacks. Statements work without them, but may run too long.
    async fn check_settings(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if self.0.workload == Workload::Deployment
            || self.0.settings_checked.swap(true, Ordering::Relaxed)
        {
            return Ok(());
        }
        let wrong = wrong_settings(connection, &SETTINGS).await?;
        if !wrong.is_empty() {
            let settings = wrong.join(", ");
            tracing::error!(
                settings,
                "the database role has wrong settings; run db-migrate"
            );
        }
        Ok(())
    }

    fn lock_idle(&self) -> MutexGuard<'_, Idle> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection for the next transaction, and starts the task that closes it if nobody uses it. Without a
    /// Tokio runtime nothing closes it.
    fn keep(&self, connection: PgConnection, since: Option<LastUse>) {
        let needs_reaper = self.lock_idle().keep(connection, since);
        if needs_reaper && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.clone().close_idle());
        }
    }

    /// Closes connections that stay idle. Ends when there are none.
    async fn close_idle(self) {
        loop {
            tokio::time::sleep(TICK).await;
            let (expired, is_last) = self.lock_idle().tick();
            for idle in expired {
                // The server learns it at once.
                let _ = timeout(ROLLBACK_TIMEOUT, idle.connection.close()).await;
            }
            if is_last {
                return;
            }
        }
    }
}

/// How the server plans a statement.
#[derive(Clone, Copy, Debug)]
enum Planning {
    /// As the login role's settings say: without looking at the values.
    OfRole,
    /// For its values.
    ForValues,
}

/// Takes statements: either inside one transaction, or each in its own.
#[derive(Debug)]
pub struct Connection(Mode);

#[derive(Debug)]
enum Mode {
    Lone(Database, Planning),
    Open(OpenTransaction),
}

struct OpenTransaction {
    /// `None` once it was committed, rolled back or dropped.
    connection: Option<PgConnection>,
    database: Database,
    permit: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenTransaction")
    }
}

impl OpenTransaction {
    fn connection(&mut self) -> sqlx::Result<&mut PgConnection> {
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Sends `COMMIT` or `ROLLBACK`, and keeps the connection if that worked.
    async fn end(mut self, sql: &'static str) -> sqlx::Result<()> {
        let connection = self.connection()?;
        let result = connection.execute(sql).await;
        // If it failed, whether the transaction has ended is not known, so the connection is closed.
        let connection = self.connection.take();
        result?;
        if let Some(connection) = connection {
            self.database.keep(connection, Some(LastUse::now()));
        }
        Ok(())
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        let (Some(mut connection), Some(permit)) = (self.connection.take(), self.permit.take())
        else {
            return;
        };
        // Without a runtime the connection closes, which rolls back, too.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let database = self.database.clone();
        runtime.spawn(async move {
            let rollback = timeout(ROLLBACK_TIMEOUT, connection.execute("ROLLBACK"));
            if let Ok(Ok(_)) = rollback.await {
                database.keep(connection, None);
            }
            drop(permit);
        });
    }
}

/// A transaction, rolled back when it is dropped.
#[derive(Debug)]
pub struct Transaction(Connection);

impl Transaction {
    pub async fn commit(self) -> sqlx::Result<()> {
        self.end("COMMIT").await
    }

    pub async fn rollback(self) -> sqlx::Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(self, sql: &'static str) -> sqlx::Result<()> {
        match self.0.0 {
            Mode::Open(open) => open.end(sql).await,
            Mode::Lone(..) => Ok(()),
        }
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl Connection {
    /// Sets the point to which [`Self::rollback_to_savepoint`] returns. Only inside a transaction, and one at a time.
    pub async fn savepoint(&mut self) -> sqlx::Result<()> {
        self.execute("SAVEPOINT mark").await.map(|_| ())
    }

    /// Undoes what was done since [`Self::savepoint`], so that the transaction goes on after a failed statement.
    pub async fn rollback_to_savepoint(&mut self) -> sqlx::Result<()> {
        self.execute("ROLLBACK TO SAVEPOINT mark").await.map(|_| ())
    }
}

/// A query that is not kept on the server after it was executed.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}

type Step = Either<PgQueryResult, PgRow>;

/// Runs a statement in a transaction of its own.
async fn run_lone<'q>(
    database: &Database,
    planning: Planning,
    query: impl Execute<'q, Postgres> + 'q,
) -> sqlx::Result<Vec<Step>> {
    let begin = database.0.workload.begin();
    let mut begin =
        format!("{begin}; SET LOCAL idle_in_transaction_session_timeout = '{LONE_TIMEOUT}'");
    if let Planning::ForValues = planning {
        begin.push_str("; SET LOCAL plan_cache_mode = force_custom_plan");
    }
    let mut open = database.open(begin).await?;
    let steps = open.connection()?.fetch_many(Unnamed(query)).try_collect();
    match steps.await {
        Ok(steps) => {
            open.end("COMMIT").await?;
            Ok(steps)
        }
        Err(error) => {
            // A failure of the rollback says less than the statement's.
            let _ = open.end("ROLLBACK").await;
            Err(error)
        }
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        match &mut self.0 {
            Mode::Lone(database, planning) => stream::once(run_lone(database, *planning, query))
                .map_ok(|steps| stream::iter(steps.into_iter().map(Ok)))
                .try_flatten()
                .boxed(),
            Mode::Open(open) => match open.connection() {
                Ok(connection) => connection.fetch_many(Unnamed(query)),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            },
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            // To the end, because a deferred constraint fails after the row.
            let steps: Vec<Step> = self.fetch_many(query).try_collect().await?;
            Ok(steps.into_iter().find_map(Either::right))
        })
    }

    fn prepare_with<'e>(
        self,
        _: SqlStr,
        _: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        Box::pin(async { Err(not_supported()) })
    }

    fn describe<'e>(self, _: SqlStr) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<Postgres>>>
    where
        'c: 'e,
    {
        Box::pin(async { Err(not_supported()) })
    }
}

/// A named statement belongs to a session.
fn not_supported() -> sqlx::Error {
    sqlx::Error::InvalidArgument("statements are not prepared ahead".to_owned())
}
