//! The whole way of an existing deployment: its schema and rows, the migrations while it is used, the adoption, the
//! first charges, the first start, and deletions by its older application. Prints each step:
//! `cargo test -p tests --test it adoption_walk -- --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tests::{Lab, World, audit, legacy, run, suite};
use uuid::Uuid;

/// What the older application may do: everything with its own tables, nothing with ours.
const RIGHTS: &str = "GRANT USAGE ON SCHEMA public TO @; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO @";

fn print(step: &str, text: impl std::fmt::Display) {
    println!("{step:>24}  {text}");
}

/// The role of the older application.
async fn older_application(world: &World) -> PgConnection {
    let name = format!("older_{}", Uuid::new_v4().simple());
    let setup = format!("CREATE ROLE {name} LOGIN; {}", RIGHTS.replace('@', &name));
    sqlx::raw_sql(AssertSqlSafe(setup))
        .execute(&world.pool)
        .await
        .expect("a role");
    let (_, database) = world.url.rsplit_once('/').expect("a name");
    let url = suite::server().await.url_of(&name, database);
    PgConnection::connect(&url).await.expect("a connection")
}

async fn execute(conn: &mut PgConnection, sql: &'static str) -> u64 {
    let done = sqlx::query(sql).execute(conn).await;
    done.expect(sql).rows_affected()
}

async fn text(pool: &PgPool, sql: &'static str) -> String {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect(sql)
}

/// Writes agents without pause until `stop`. Returns the number of writes and the longest one.
async fn write_agents(mut conn: PgConnection, stop: Arc<AtomicBool>) -> (u32, Duration) {
    let (mut writes, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        execute(
            &mut conn,
            "UPDATE milady_sandboxes SET last_heartbeat_at = now() WHERE status = 'running'",
        )
        .await;
        longest = longest.max(began.elapsed());
        writes += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (writes, longest)
}

/// Migrates while one session holds a lock for two seconds and another one writes.
async fn migrate(world: &World) -> Value {
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write_agents(
        older_application(world).await,
        Arc::clone(&stop),
    ));
    let mut holder = world.pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE milady_sandboxes IN ROW EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .expect("a lock");
    let began = Instant::now();
    let migrating = world.function("db-migrate");
    let (answer, ()) = tokio::join!(migrating.invoke_ok(json!({})), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        holder.commit().await.expect("a commit");
    });
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (writes, longest) = writing.await.expect("the writer");
    print(
        "migrated while in use",
        format!(
            "{} of {} migrations in {:.1} s, of which 2 s behind a lock; {writes} writes meanwhile, the longest {} ms",
            answer["migrations"]["applied"],
            answer["migrations"]["total"],
            took.as_secs_f64(),
            longest.as_millis()
        ),
    );
    assert!(writes > 0);
    answer
}

async fn start_an_agent(lab: &Lab) -> Uuid {
    let agent = lab.running_agent(json!({})).await;
    print("first start", format!("{}", lab.placement(agent).await));
    agent
}

/// Lets the older application delete, and the workers tear down what is left.
async fn delete(lab: &Lab, older: &mut PgConnection, sql: &'static str, agent: Uuid) {
    let deleted = execute(older, sql).await;
    let event = json!({"detail-type": "tombstone.due", "detail": {"agentId": agent}});
    let outcome = lab.world.function("job-run").invoke_ok(event).await;
    lab.assert_gone(agent, sql).await;
    print(
        "deleted elsewhere",
        format!("{sql}: {deleted} row; torn down: {}", outcome["outcome"]),
    );
}

#[test]
fn adoption_walk() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        legacy::create(&world.pool).await;
        // Built before anything is timed.
        suite::binaries();
        print(
            "existing deployment",
            text(
                &world.pool,
                "SELECT format('%s tables, %s organizations, %s users, %s agents, %s jobs, %s rows of the ledger',
                    (SELECT count(*) FROM pg_tables WHERE schemaname = 'public'), (SELECT count(*) FROM organizations),
                    (SELECT count(*) FROM users), (SELECT count(*) FROM milady_sandboxes),
                    (SELECT count(*) FROM jobs), (SELECT count(*) FROM credit_transactions))",
            )
            .await,
        );
        let mut older = older_application(&world).await;
        let user_before = "DELETE FROM users WHERE email = 'leaving@example.test'";
        print(
            "deleted before",
            format!("{user_before}: {}", execute(&mut older, user_before).await),
        );

        let first = migrate(&world).await;
        assert_eq!(first["migrations"]["applied"], first["migrations"]["total"]);
        let again = world.function("db-migrate").invoke_ok(json!({})).await;
        assert_eq!(again["migrations"]["applied"], json!(0));
        print("migrated again", &again);
        let refused = world
            .function("billing-hourly")
            .invoke_error(json!({}))
            .await;
        assert!(refused.contains("adopt"), "{refused}");
        print("billing before", refused);

        let adopted = world
            .function("db-migrate")
            .invoke_ok(json!({"adopt": true}))
            .await;
        print("adopted", &adopted["adoption"]);
        let charge = sqlx::raw_sql(
            "INSERT INTO credit_transactions (organization_id, amount, type, metadata)
            SELECT id, -0.02, 'debit', '{\"billing_type\": \"milady_running\"}' FROM organizations",
        )
        .execute(&mut older)
        .await;
        print("the older biller", charge.expect_err("a refusal"));

        // A user goes meanwhile, and with the user some agents. What they ran is charged all the same.
        let moved = "UPDATE milady_sandboxes SET user_id = '00000000-0000-4000-8000-000000000012'
            WHERE agent_name IN ('running/active', 'never billed')";
        execute(&mut older, moved).await;
        let user = "DELETE FROM users WHERE email = 'debtor@example.test'";
        let deleted = execute(&mut older, user).await;
        print("deleted meanwhile", format!("{user}: {deleted}"));
        let billed = world.function("billing-hourly").invoke_ok(json!({})).await;
        print("billed", &billed);
        // The older biller's total of each agent is not in our rows.
        world
            .execute("UPDATE milady_sandboxes SET total_billed = total_billed - 12.34 WHERE total_billed >= 12.34")
            .await;
        audit::check(&world.pool).await;
        print("audited", "all invariants hold");

        // The hosts that the old rows name do not exist. New agents go to a real one.
        let Some(lab) = Lab::on(world, 1).await else {
            return;
        };
        let mut older = older_application(&lab.world).await;
        let agent = start_an_agent(&lab).await;
        let one = "DELETE FROM milady_sandboxes WHERE agent_name = 'agent'";
        delete(&lab, &mut older, one, agent).await;
        let agent = start_an_agent(&lab).await;
        let organization = "DELETE FROM organizations WHERE name = 'Test'";
        delete(&lab, &mut older, organization, agent).await;

        let world = &lab.world;
        world
            .execute(
                "INSERT INTO organizations (name, slug, credit_balance) VALUES ('Large', 'large', 100);
                INSERT INTO users (organization_id, role) SELECT id, 'owner' FROM organizations WHERE slug = 'large';
                INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, node_id, container_name)
                SELECT o.id, u.id, 'one of many', 'running', 'away', 'milady-' || n
                FROM organizations o JOIN users u ON u.organization_id = o.id, generate_series(1, 2000) n
                WHERE o.slug = 'large'",
            )
            .await;
        let began = Instant::now();
        execute(&mut older, "DELETE FROM organizations WHERE slug = 'large'").await;
        let took = began.elapsed();
        let left = world
            .count("SELECT count(*) FROM cloud.tombstones WHERE node_id = 'away'")
            .await;
        assert_eq!(left, 2_000);
        print(
            "a large organization",
            format!(
                "2,000 agents deleted by cascade in {} ms; {left} tombstones",
                took.as_millis()
            ),
        );
        for relation in ["usage_spans", "tombstones", "billing_runs"] {
            let sql = format!("SELECT count(*) FROM cloud.{relation}");
            let read = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut older).await;
            let refused = read.expect_err("a refusal");
            print("nothing of ours", format!("{relation}: {refused}"));
        }
    });
}
