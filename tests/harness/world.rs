//! The world of one test: its database and clock, and helpers to set them up and inspect them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use shared::app::billing::run::{MAX_CHARGES, RunError, RunReport, RunRequest, billing_run};
use shared::db::{Database, Workload};
use shared::domain::pricing::Prices;
use sqlx::PgPool;
use uuid::Uuid;

use crate::calls::WarmInstances;
use crate::suite::{self, Function, Request, Response};
use crate::wait::wait_until;

#[derive(Clone, Debug)]
pub struct World {
    /// The URL of the database.
    pub url: String,
    /// The superuser's connections.
    pub pool: PgPool,
    /// The database as the functions see it.
    pub database: Database,
    pub prices: Prices,
    /// Settings of its functions beyond the shared ones.
    pub settings: BTreeMap<String, String>,
    pub(crate) warm_instances: WarmInstances,
}

/// A charge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct LedgerRow {
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    pub kind: String,
    pub amount: Decimal,
    pub agent_id: Uuid,
    #[sqlx(rename = "span")]
    pub span_id: i64,
}

/// The billing columns of an agent's row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AgentRow {
    pub status: String,
    pub billing_status: String,
    /// The sum of all charges, whether or not they are stated.
    pub total_billed: Decimal,
    /// The end of the last charge.
    pub charged_through: Option<DateTime<Utc>>,
    pub shutdown_warning_sent_at: Option<DateTime<Utc>>,
    pub scheduled_shutdown_at: Option<DateTime<Utc>>,
}

/// This many hours after [`suite::epoch`].
#[must_use]
pub fn hours(n: i64) -> DateTime<Utc> {
    suite::epoch() + TimeDelta::hours(n)
}

/// This many minutes after [`suite::epoch`].
#[must_use]
pub fn minutes(n: i64) -> DateTime<Utc> {
    suite::epoch() + TimeDelta::minutes(n)
}

impl World {
    /// A world on a new migrated database, at hour 0.
    pub async fn new() -> Self {
        Self::with_database(&suite::database().await).await
    }

    /// A world on an existing database of the shared server, with its own table for the fleet
    /// snapshot.
    pub async fn with_database(database: &str) -> Self {
        let mut world = Self::with_url(suite::server().await.url(database));
        world.use_cache_table(suite::dynamodb().await, database);
        world
    }

    /// A world on a database of any server, without a cache table.
    #[must_use]
    pub fn with_url(url: String) -> Self {
        Self {
            pool: suite::pool(&url, 16),
            database: Database::new(
                suite::runtime_url(&url).parse().expect("a URL"),
                Workload::BillingRun,
            ),
            url,
            prices: Prices::default(),
            settings: BTreeMap::new(),
            warm_instances: WarmInstances::default(),
        }
    }

    /// A function on this database, with this world's settings.
    #[must_use]
    pub fn function(&self, name: &str) -> Function {
        let function = Function::new(name, &self.url);
        let settings = self.settings.iter();
        settings.fold(function, |function, (key, value)| function.with(key, value))
    }

    pub async fn set_clock(&self, at: DateTime<Utc>) {
        dev::clock::set(&self.pool, at).await.expect("the clock");
    }

    pub async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.expect(sql);
    }

    /// Inserts an organization with an owner.
    pub async fn organization(&self, balance: &str) -> Uuid {
        let id: Uuid = sqlx::query_scalar(
            "INSERT INTO organizations (name, slug, credit_balance)
            VALUES ('Test', gen_random_uuid()::text, $1::text::numeric) RETURNING id",
        )
        .bind(balance)
        .fetch_one(&self.pool)
        .await
        .expect("an organization");
        sqlx::query("INSERT INTO users (organization_id, role) VALUES ($1, 'owner')")
            .bind(id)
            .execute(&self.pool)
            .await
            .expect("a user");
        id
    }

    /// Inserts an API key of an organization's owner.
    pub async fn key(&self, organization: Uuid) -> String {
        let key = format!(
            "eliza_{}{}",
            Uuid::new_v4().simple(),
            Uuid::new_v4().simple()
        );
        sqlx::query(
            // Benchmarks make more requests in a minute than a key may by default.
            "INSERT INTO api_keys (name, key, key_hash, key_prefix, organization_id, user_id, rate_limit)
            SELECT 'test', gen_random_uuid()::text, encode(sha256($2::bytea), 'hex'), 'eliza_', $1, id, 1000000
            FROM users WHERE organization_id = $1",
        )
        .bind(organization)
        .bind(key.as_bytes())
        .execute(&self.pool)
        .await
        .expect("a key");
        key
    }

    /// Inserts an agent in this status, created now.
    pub async fn agent(&self, organization: Uuid, status: &str) -> Uuid {
        sqlx::query_scalar(
            "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status,
                last_backup_at, created_at, updated_at)
            SELECT $1, id, 'agent', $2, CASE $2 WHEN 'stopped' THEN billing_clock() END,
                billing_clock(), billing_clock()
            FROM users WHERE organization_id = $1 RETURNING id",
        )
        .bind(organization)
        .bind(status)
        .fetch_one(&self.pool)
        .await
        .expect("an agent")
    }

    /// Sets an agent's status as another system would.
    pub async fn set_status(&self, agent: Uuid, status: &str) {
        sqlx::query(
            "UPDATE milady_sandboxes SET status = $2,
                last_backup_at = CASE $2 WHEN 'stopped' THEN billing_clock() ELSE last_backup_at END
            WHERE id = $1",
        )
        .bind(agent)
        .bind(status)
        .execute(&self.pool)
        .await
        .expect("a status");
    }

    /// Deletes an agent's row as another system would.
    pub async fn delete(&self, agent: Uuid) {
        sqlx::query("DELETE FROM milady_sandboxes WHERE id = $1")
            .bind(agent)
            .execute(&self.pool)
            .await
            .expect("a deletion");
    }

    /// Adds credit as a purchase does: changes the balance and inserts a ledger row.
    pub async fn top_up(&self, organization: Uuid, amount: &str) {
        let mut tx = self.pool.begin().await.expect("begin");
        sqlx::query(
            "UPDATE organizations SET credit_balance = credit_balance + $2::text::numeric
            WHERE id = $1",
        )
        .bind(organization)
        .bind(amount)
        .execute(&mut *tx)
        .await
        .expect("a top-up");
        sqlx::query(
            "INSERT INTO credit_transactions (organization_id, amount, type, created_at)
            VALUES ($1, $2::text::numeric, 'credit', billing_clock() AT TIME ZONE 'UTC')",
        )
        .bind(organization)
        .bind(amount)
        .execute(&mut *tx)
        .await
        .expect("its row");
        tx.commit().await.expect("commit");
    }

    /// Moves the clock to a full hour and runs billing up to it.
    pub async fn run_billing(&self, hour: i64) -> RunReport {
        self.set_clock(hours(hour)).await;
        self.run_billing_at_current_time(hour).await
    }

    /// Runs billing without moving the clock and panics unless it is complete.
    pub async fn run_billing_at_current_time(&self, hour: i64) -> RunReport {
        self.try_run_billing(hour)
            .await
            .expect("a complete billing run")
    }

    /// Runs billing without moving the clock.
    pub async fn try_run_billing(&self, hour: i64) -> Result<RunReport, RunError> {
        self.run_billing_in_parts(hour, MAX_CHARGES).await
    }

    /// Runs billing without moving the clock, in parts that are full at this many charges.
    pub async fn run_billing_in_parts(
        &self,
        hour: i64,
        max_charges: usize,
    ) -> Result<RunReport, RunError> {
        let request = RunRequest {
            period_end: Some(hours(hour)),
            source: "test",
            deadline: None,
            concurrency: 4,
            max_charges,
        };
        billing_run(&self.database, &self.prices, &request).await
    }

    /// Requests an agent's start as the organization's owner, on a new instance.
    pub async fn start(&self, organization: Uuid, agent: Uuid) -> Response {
        let key = self.key(organization).await;
        let request = Request::new("POST", &format!("/api/v1/milady/agents/{agent}/provision"));
        self.call_on_new_instance(request.key(&key)).await
    }

    pub async fn balance(&self, organization: Uuid) -> Decimal {
        sqlx::query_scalar("SELECT credit_balance FROM organizations WHERE id = $1")
            .bind(organization)
            .fetch_one(&self.pool)
            .await
            .expect("a balance")
    }

    pub async fn agent_row(&self, agent: Uuid) -> AgentRow {
        sqlx::query_as(
            "SELECT status, billing_status, coalesce(total, 0) AS total_billed, charged_through,
                shutdown_warning_sent_at, scheduled_shutdown_at
            FROM milady_sandboxes, (
                SELECT sum(c.amount) AS total, max(c.period_end) AS charged_through
                FROM usage_charges c JOIN usage_spans s ON s.id = c.span WHERE s.agent_id = $1) AS charged
            WHERE id = $1",
        )
        .bind(agent)
        .fetch_one(&self.pool)
        .await
        .expect("an agent")
    }

    /// An organization's charges, in the order of charging, as negative amounts.
    pub async fn ledger(&self, organization: Uuid) -> Vec<LedgerRow> {
        sqlx::query_as(
            "SELECT c.period_start, c.period_end, s.kind, -c.amount AS amount, s.agent_id, c.span
            FROM usage_charges c JOIN usage_spans s ON s.id = c.span WHERE s.organization_id = $1
            ORDER BY c.entry, date_trunc('hour', c.period_start), s.agent_created_at, s.agent_id, c.period_start",
        )
        .bind(organization)
        .fetch_all(&self.pool)
        .await
        .expect("the ledger")
    }

    /// The sum of an organization's charges.
    pub async fn charged(&self, organization: Uuid) -> Decimal {
        -self
            .ledger(organization)
            .await
            .iter()
            .map(|row| row.amount)
            .sum::<Decimal>()
    }

    /// The types of an organization's events, in order.
    pub async fn events(&self, organization: Uuid) -> Vec<String> {
        sqlx::query_scalar("SELECT type FROM outbox_events WHERE organization_id = $1 ORDER BY id")
            .bind(organization)
            .fetch_all(&self.pool)
            .await
            .expect("events")
    }

    /// Marks all events as handed over to the mail provider.
    pub async fn mark_events_handed_over(&self) {
        self.execute("UPDATE outbox_events SET handed_over_at = billing_clock() WHERE handed_over_at IS NULL").await;
    }

    /// Runs a query that returns a number.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.pool)
            .await
            .expect(sql)
    }

    /// Waits until another session is blocked by a lock.
    pub async fn wait_until_a_session_is_blocked(&self) {
        wait_until("a session is blocked by a lock", async || {
            self.blocked_sessions().await > 0
        })
        .await;
    }

    /// The number of sessions that are blocked by a lock.
    pub async fn blocked_sessions(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await
    }
}
