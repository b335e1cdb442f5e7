//! The demo organizations. Their keys are the same on every machine and open nothing else.

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

/// The demo keys' own limit: tools that try the API make more requests in a minute than a key may by default.
pub(super) const REQUESTS_PER_MINUTE: i32 = 100_000;

pub(crate) struct Demo {
    pub(super) name: &'static str,
    pub(super) slug: &'static str,
    /// Two hexadecimal digits; 32 repetitions of them make the key.
    digits: &'static str,
    pub(super) balance: &'static str,
    /// Whether the owner may use the admin routes.
    owner_is_admin: bool,
    agents: &'static [Agent],
}

struct Agent {
    name: &'static str,
    status: &'static str,
    billing_status: &'static str,
    /// USD per hour; `None` means the configured price.
    rate: Option<&'static str>,
    has_backup: bool,
}

impl Agent {
    const fn running(name: &'static str, rate: Option<&'static str>) -> Self {
        Self {
            name,
            status: "running",
            billing_status: "active",
            rate,
            has_backup: false,
        }
    }
}

/// The second organization's credit is low after the first hour, and it cannot pay the fourth. Its expensive agent is
/// the older one, so the older debt keeps the hours of the other agent unpaid too, and one shutdown warning names both.
pub(crate) const DEMOS: [Demo; 2] = [
    Demo {
        name: "Demo",
        slug: "demo",
        digits: "d0",
        balance: "25",
        owner_is_admin: true,
        agents: &[
            Agent::running("greeter", None),
            Agent::running("researcher", None),
            Agent::running("trader (own price)", Some("0.05")),
            Agent {
                status: "stopped",
                has_backup: true,
                ..Agent::running("archivist (idle)", None)
            },
            Agent {
                billing_status: "exempt",
                ..Agent::running("guide (exempt)", None)
            },
            Agent {
                status: "pending",
                ..Agent::running("newcomer (pending)", None)
            },
        ],
    },
    Demo {
        name: "Nearly broke",
        slug: "nearly-broke",
        digits: "b0",
        balance: "3",
        owner_is_admin: false,
        agents: &[
            Agent::running("big spender", Some("0.85")),
            Agent::running("small one", None),
        ],
    },
];

/// The organization whose story a time lapse tells. It has just enough credit to start an agent.
pub(super) const FORGETFUL: Demo = Demo {
    name: "Forgetful",
    slug: "forgetful",
    digits: "f0",
    balance: "5.50",
    owner_is_admin: false,
    agents: &[],
};

impl Demo {
    pub(crate) fn key(&self) -> String {
        format!("eliza_{}", self.digits.repeat(32))
    }
}

/// Creates the demo organizations unless they exist. Returns whether it created them.
pub(super) async fn seed(pool: &PgPool) -> Result<bool> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM organizations WHERE slug = $1)")
            .bind(DEMOS[0].slug)
            .fetch_one(&mut *transaction)
            .await?;
    if exists {
        return Ok(false);
    }
    for demo in &DEMOS {
        insert_organization(&mut transaction, demo)
            .await
            .with_context(|| format!("cannot create the organization {}", demo.name))?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Creates the organization whose story a time lapse tells. Returns its id.
pub(super) async fn seed_forgetful(pool: &PgPool) -> Result<Uuid> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    let organization = insert_organization(&mut transaction, &FORGETFUL).await?;
    transaction.commit().await?;
    Ok(organization)
}

/// Returns its id.
async fn insert_organization(connection: &mut PgConnection, demo: &Demo) -> Result<Uuid> {
    let organization: Uuid = sqlx::query_scalar(
        "INSERT INTO organizations (name, slug, credit_balance) VALUES ($1, $2, $3::numeric)
         RETURNING id",
    )
    .bind(demo.name)
    .bind(demo.slug)
    .bind(demo.balance)
    .fetch_one(&mut *connection)
    .await?;
    let user: Uuid = sqlx::query_scalar(
        "INSERT INTO users (name, email, organization_id, role) VALUES ($1, $2, $3, 'owner')
         RETURNING id",
    )
    .bind(format!("Owner of {}", demo.name))
    .bind(format!("owner@{}.example", demo.slug))
    .bind(organization)
    .fetch_one(&mut *connection)
    .await?;
    let key = demo.key();
    let permissions = if demo.owner_is_admin {
        json!(["read", "agents", "billing", "admin"])
    } else {
        json!([])
    };
    sqlx::query(
        "INSERT INTO api_keys (name, key, key_hash, key_prefix, organization_id, user_id, permissions, rate_limit)
         VALUES ('demo', $1, $2, left($1, 12), $3, $4, $5, $6)",
    )
    .bind(&key)
    .bind(hex::encode(Sha256::digest(&key)))
    .bind(organization)
    .bind(user)
    .bind(permissions)
    .bind(REQUESTS_PER_MINUTE)
    .execute(&mut *connection)
    .await?;
    if demo.owner_is_admin {
        make_admin(connection, demo, user).await?;
    }
    // The first agent of the list is the oldest: billing charges agents by age.
    for (minutes_younger, agent) in (0_i32..).zip(demo.agents) {
        let id: Uuid = sqlx::query_scalar(
            "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status,
                 billing_status, hourly_rate, created_at, environment_vars)
             VALUES ($1, $2, $3, $4, $5, $6::numeric,
                 billing_clock() - interval '1 day' + make_interval(mins => $7),
                 jsonb_build_object('MILADY_API_TOKEN', md5($3)))
             RETURNING id",
        )
        .bind(organization)
        .bind(user)
        .bind(agent.name)
        .bind(agent.status)
        .bind(agent.billing_status)
        .bind(agent.rate)
        .bind(minutes_younger)
        .fetch_one(&mut *connection)
        .await?;
        if agent.has_backup {
            insert_backups(connection, id).await?;
        }
    }
    Ok(organization)
}

/// Admins are identified by their wallet address.
async fn make_admin(connection: &mut PgConnection, demo: &Demo, user: Uuid) -> Result<()> {
    let wallet = format!("0x{}", demo.digits.repeat(20));
    sqlx::query("UPDATE users SET wallet_address = $2, wallet_verified = true WHERE id = $1")
        .bind(user)
        .bind(&wallet)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO admin_users (user_id, wallet_address, role) VALUES ($1, $2, 'super_admin')",
    )
    .bind(user)
    .bind(&wallet)
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Inserts a manual backup and a newer automatic one.
async fn insert_backups(connection: &mut PgConnection, agent: Uuid) -> Result<()> {
    sqlx::query(
        "WITH taken AS (
             INSERT INTO milady_sandbox_backups (sandbox_record_id, snapshot_type, state_data,
                 size_bytes, created_at)
             SELECT $1, kind, state, octet_length(state::text), billing_clock() - age
             FROM (VALUES ('manual', interval '12 minutes'), ('auto', interval '4 minutes'))
                 AS kinds (kind, age), (VALUES ($2::jsonb)) AS states (state)
             RETURNING created_at)
         UPDATE milady_sandboxes SET last_backup_at = (SELECT max(created_at) FROM taken)
         WHERE id = $1",
    )
    .bind(agent)
    .bind(json!({
        "memories": [{"role": "user", "text": "Keep this.", "timestamp": 1_793_620_805_000_i64}],
        "config": {},
        "workspaceFiles": {"notes.txt": "kept"},
    }))
    .execute(&mut *connection)
    .await?;
    Ok(())
}
