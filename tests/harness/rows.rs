//! Inserts, changes and reads rows for tests of the API.

use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::wait::wait_until;
use crate::world::World;

impl World {
    /// Creates an organization and an API key of its owner.
    pub async fn tenant(&self, balance: &str) -> (Uuid, String) {
        let organization = self.organization(balance).await;
        let key = self.key(organization).await;
        (organization, key)
    }

    /// Creates an organization whose owner is a super admin, and returns an API key of theirs.
    pub async fn super_admin(&self) -> String {
        let (operators, key) = self.tenant("0").await;
        self.make_admin(operators, "super_admin").await;
        key
    }

    /// Locks an organization, as every transaction about its money does.
    pub async fn lock_organization(&self, organization: Uuid) -> Transaction<'static, Postgres> {
        let mut lock = self.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM organizations WHERE id = $1 FOR NO KEY UPDATE")
            .bind(organization)
            .execute(&mut *lock)
            .await
            .expect("the lock");
        lock
    }

    /// Gives up a lock once this many sessions wait for it.
    pub async fn release(&self, lock: Transaction<'static, Postgres>, waiting: i64) {
        wait_until("the sessions wait for the lock", async || {
            self.blocked_sessions().await == waiting
        })
        .await;
        lock.rollback().await.expect("the end");
    }

    /// Inserts a backup of an agent, taken now.
    pub async fn backup(&self, agent: Uuid, kind: &str) -> Uuid {
        sqlx::query_scalar(
            "INSERT INTO milady_sandbox_backups
                (sandbox_record_id, snapshot_type, state_data, size_bytes, created_at)
            VALUES ($1, $2, '{\"memories\": []}', 16, billing_clock()) RETURNING id",
        )
        .bind(agent)
        .bind(kind)
        .fetch_one(&self.pool)
        .await
        .expect("a backup")
    }

    /// Inserts a request for a snapshot, made now, that runs for this many seconds unless it ends earlier.
    pub async fn snapshot_request(&self, organization: Uuid, agent: Uuid, seconds: i32) {
        sqlx::query(
            "INSERT INTO cloud.snapshot_requests (organization_id, agent_id, requested_at, running_until)
            VALUES ($1, $2, billing_clock(), billing_clock() + make_interval(secs => $3))",
        )
        .bind(organization)
        .bind(agent)
        .bind(f64::from(seconds))
        .execute(&self.pool)
        .await
        .expect("a request");
    }

    /// Gives an organization's owner a verified wallet with an admin role, and keys that may be used for it.
    pub async fn make_admin(&self, organization: Uuid, role: &str) {
        let wallet = format!("0x{}{}", organization.simple(), "00000000");
        sqlx::query(
            "UPDATE users SET wallet_address = upper($2), wallet_verified = true WHERE organization_id = $1",
        )
        .bind(organization)
        .bind(&wallet)
        .execute(&self.pool)
        .await
        .expect("a wallet");
        sqlx::query(
            r#"UPDATE api_keys SET permissions = '["read", "agents", "billing", "admin"]'
            WHERE organization_id = $1"#,
        )
        .bind(organization)
        .execute(&self.pool)
        .await
        .expect("permissions");
        sqlx::query(
            "INSERT INTO admin_users (wallet_address, role) VALUES ($1, $2::text::admin_role)",
        )
        .bind(&wallet)
        .bind(role)
        .execute(&self.pool)
        .await
        .expect("a role");
    }

    /// Sets a limit of an organization, by its column, as an operator would.
    pub async fn set_limit(&self, organization: Uuid, column: &'static str, value: i32) {
        let sql = format!(
            "INSERT INTO cloud.organization_limits (organization_id, {column}, updated_at, updated_by)
            VALUES ($1, $2, billing_clock(), $1) ON CONFLICT (organization_id) DO UPDATE SET {column} = $2"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(organization)
            .bind(value)
            .execute(&self.pool)
            .await
            .expect(column);
    }

    /// Gives an agent to another organization as another system would.
    pub async fn transfer(&self, agent: Uuid, organization: Uuid) {
        sqlx::query("UPDATE milady_sandboxes SET organization_id = $2 WHERE id = $1")
            .bind(agent)
            .bind(organization)
            .execute(&self.pool)
            .await
            .expect("a transfer");
    }

    /// Sets columns of an agent as another system would.
    pub async fn set_columns(&self, agent: Uuid, columns: &'static str) {
        let sql = format!("UPDATE milady_sandboxes SET {columns} WHERE id = $1");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(agent)
            .execute(&self.pool)
            .await
            .expect(columns);
    }

    /// The jobs of an agent, oldest first: type, status, attempts and error.
    pub async fn jobs_of(&self, agent: Uuid) -> Vec<Value> {
        let rows: Vec<(String, String, i32, Option<String>)> = sqlx::query_as(
            "SELECT type, status, attempts, error FROM jobs WHERE agent_id = $1 ORDER BY created_at, type",
        )
        .bind(agent)
        .fetch_all(&self.pool)
        .await
        .expect("jobs");
        let jobs = rows.into_iter().map(|(kind, status, attempts, error)| {
            json!({"type": kind, "status": status, "attempts": attempts, "error": error})
        });
        jobs.collect()
    }

    /// Whether the agent's row exists.
    pub async fn agent_exists(&self, agent: Uuid) -> bool {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM milady_sandboxes WHERE id = $1)")
            .bind(agent)
            .fetch_one(&self.pool)
            .await
            .expect("an answer")
    }
}
