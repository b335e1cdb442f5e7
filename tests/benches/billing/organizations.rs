//! The databases that the runs are measured on.

use std::path::Path;

use dev::postgres::Server;
use serde_json::json;
use sqlx::PgPool;
use tests::Function;
use tests::suite::{epoch, pool};
use uuid::Uuid;

/// How many agents there are, and how they are distributed.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    pub agents: usize,
    pub per_organization: usize,
    /// Dollars per organization.
    pub balance: i64,
}

#[derive(Debug)]
pub struct Database {
    pub url: String,
    pub pool: PgPool,
}

/// Creates a database migrated by these binaries, with running agents, at hour 0.
pub async fn create(server: &Server, binaries: &Path, fleet: Fleet) -> Database {
    let name = format!("bench_{}", Uuid::new_v4().simple());
    server
        .create_database(&name, None)
        .await
        .expect("a database");
    let url = server.url(&name);
    Function::new("db-migrate", &url)
        .from_directory(binaries)
        // An older build has one address.
        .with("DATABASE_URL", &url)
        .invoke_ok(json!({}))
        .await;
    let pool = pool(&url, 2);
    // Another build may not have the schema.
    sqlx::raw_sql("CREATE SCHEMA IF NOT EXISTS cloud")
        .execute(&pool)
        .await
        .expect("a schema");
    dev::clock::install_alone(&pool, epoch())
        .await
        .expect("a clock");
    // Nor need it know this function, and its clock may be in `public`.
    sqlx::raw_sql(
        "DO $$ BEGIN
            IF to_regproc('public.billing_clock') IS NOT NULL THEN
                CREATE OR REPLACE FUNCTION public.billing_clock() RETURNS timestamptz
                LANGUAGE sql VOLATILE AS 'SELECT cloud.billing_clock()';
            END IF;
            IF to_regproc('cloud.ensure_partitions') IS NOT NULL THEN
                PERFORM cloud.ensure_partitions(billing_clock());
            END IF;
        END $$",
    )
    .execute(&pool)
    .await
    .expect("partitions");
    insert(&pool, fleet).await;
    Database { url, pool }
}

async fn insert(pool: &PgPool, fleet: Fleet) {
    let organizations = count(fleet.agents / fleet.per_organization);
    for sql in [
        "INSERT INTO organizations (name, slug, credit_balance)
        SELECT 'Organization ' || n, 'o-' || n, $2 FROM generate_series(1, $1) n WHERE $3 > 0",
        "INSERT INTO users (organization_id, email)
        SELECT id, slug || '@example.test' FROM organizations WHERE $1 + $2 + $3 > 0",
        "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, node_id,
            container_name, bridge_port, agent_config, environment_vars, created_at)
        SELECT organization_id, id, 'agent ' || n, 'running', 'node-' || id, 'milady-' || id, n,
            '{\"model\": \"large\", \"tokenName\": \"Milady\"}', '{\"LOG_LEVEL\": \"info\"}',
            billing_clock()
        FROM users, generate_series(1, $3) n WHERE $1 + $2 >= 0",
    ] {
        sqlx::query(sql)
            .bind(organizations)
            .bind(fleet.balance)
            .bind(count(fleet.per_organization))
            .execute(pool)
            .await
            .expect(sql);
    }
    for sql in ["VACUUM ANALYZE", "CHECKPOINT"] {
        sqlx::raw_sql(sql).execute(pool).await.expect(sql);
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).expect("small")
}
