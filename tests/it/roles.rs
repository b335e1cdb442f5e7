//! What other roles of the database can do with our objects, and the role of the functions.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{World, run, suite};
use uuid::Uuid;

/// A connection to the world's database as a new role with these rights.
async fn connect_as(world: &World, role: &str, rights: &[&str]) -> PgConnection {
    let name = format!("{role}_{}", Uuid::new_v4().simple());
    let create = format!("CREATE ROLE {name} LOGIN");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&world.pool)
        .await
        .expect("a role");
    for right in rights {
        let grant = format!("GRANT {right} TO {name}");
        sqlx::raw_sql(AssertSqlSafe(grant))
            .execute(&world.pool)
            .await
            .expect(right);
    }
    let (_, database) = world.url.rsplit_once('/').expect("a name");
    let url = suite::server().await.url_of(&name, database);
    PgConnection::connect(&url).await.expect("a connection")
}

/// The SQLSTATE with which a statement fails; `None` if it succeeds.
async fn refusal(conn: &mut PgConnection, sql: &str) -> Option<String> {
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(conn)
        .await
    {
        Ok(_) => None,
        Err(sqlx::Error::Database(error)) => error.code().map(std::borrow::Cow::into_owned),
        Err(error) => panic!("{sql}: {error}"),
    }
}

const WRITE_AGENTS: &str =
    "SELECT, INSERT, UPDATE, DELETE ON public.milady_sandboxes, public.users, public.organizations";
const FORBIDDEN: &str = "42501";

#[test]
fn f39_no_other_role_can_call_a_function_of_ours() {
    run(async {
        let world = World::new().await;
        let functions: Vec<(String, bool)> = sqlx::query_as(
            "SELECT 'cloud.' || p.proname, p.prorettype = 'trigger'::regtype
            FROM pg_proc p WHERE p.pronamespace = 'cloud'::regnamespace",
        )
        .fetch_all(&world.pool)
        .await
        .expect("functions");
        assert!(functions.len() >= 4, "{functions:?}");
        for rights in [
            &[][..],
            &[WRITE_AGENTS],
            &["CREATE, TEMPORARY ON DATABASE postgres"],
        ] {
            let mut attacker = connect_as(&world, "attacker", rights).await;
            // The tables that our functions would find first if they searched the attacker's schema.
            sqlx::raw_sql(
                "CREATE TEMP TABLE usage_spans (agent_id uuid, ended_at timestamptz);
                CREATE TEMP TABLE milady_sandboxes (id uuid, status text)",
            )
            .execute(&mut attacker)
            .await
            .expect("temporary tables");
            for (function, is_trigger) in &functions {
                let sql = if *is_trigger {
                    format!(
                        "CREATE TRIGGER t AFTER INSERT ON pg_temp.milady_sandboxes
                        FOR EACH ROW EXECUTE FUNCTION {function}()"
                    )
                } else {
                    // The schema is refused before the arguments are looked at.
                    format!("SELECT {function}()")
                };
                let refused = refusal(&mut attacker, &sql).await;
                assert_eq!(refused.as_deref(), Some(FORBIDDEN), "{sql}");
            }
        }
    });
}

#[test]
fn f39_nothing_of_ours_can_be_read_by_another_role() {
    run(async {
        let world = World::new().await;
        let mut other = connect_as(&world, "other", &[WRITE_AGENTS]).await;
        let relations: Vec<String> = sqlx::query_scalar(
            "SELECT c.oid::regclass::text FROM pg_class c
            WHERE c.relnamespace = 'cloud'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'S')",
        )
        .fetch_all(&world.pool)
        .await
        .expect("relations");
        assert!(relations.len() >= 8, "{relations:?}");
        for relation in relations {
            let relation = relation.trim_start_matches("cloud.");
            let refused = refusal(&mut other, &format!("SELECT * FROM cloud.{relation}")).await;
            assert_eq!(refused.as_deref(), Some(FORBIDDEN), "{relation}");
        }
        // A default privilege would open what a later migration creates.
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            WHERE p.pronamespace = 'cloud'::regnamespace AND a.grantee = 0 AND p.proname <> 'dev_clock'",
        )
        .fetch_one(&world.pool)
        .await
        .expect("a count");
        assert_eq!(open, 0, "functions that PUBLIC may execute");
    });
}

#[test]
fn f39_a_writer_of_agents_meters_into_our_table_whatever_it_creates() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "pending").await;
        let mut writer = connect_as(&world, "writer", &[WRITE_AGENTS]).await;
        sqlx::raw_sql(
            "CREATE TEMP TABLE usage_spans
                (LIKE public.milady_sandboxes, agent_id uuid, ended_at timestamptz);
            SET search_path = pg_temp, public",
        )
        .execute(&mut writer)
        .await
        .expect("a table");
        sqlx::query("UPDATE public.milady_sandboxes SET status = 'running' WHERE id = $1")
            .bind(agent)
            .execute(&mut writer)
            .await
            .expect("an update");
        let shadow: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_temp.usage_spans")
            .fetch_one(&mut writer)
            .await
            .expect("a count");
        assert_eq!(shadow, 0);
        let open = "SELECT count(*) FROM cloud.usage_spans WHERE ended_at IS NULL";
        assert_eq!(world.count(open).await, 1);
    });
}

#[test]
fn a_role_without_rights_on_our_schema_updates_agents_and_deletes_users_and_organizations() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        let mut other = connect_as(&world, "older_application", &[WRITE_AGENTS]).await;
        for sql in [
            "UPDATE public.milady_sandboxes SET status = 'stopped', last_backup_at = now()",
            "UPDATE public.milady_sandboxes SET status = 'running'",
            "UPDATE public.milady_sandboxes SET hourly_rate = 0.5",
            "DELETE FROM public.users",
            "DELETE FROM public.organizations",
        ] {
            assert_eq!(refusal(&mut other, sql).await, None, "{sql}");
        }
        let spans: Vec<(String, bool)> = sqlx::query_as(
            "SELECT kind, ended_at IS NULL FROM cloud.usage_spans WHERE agent_id = $1
            ORDER BY started_at, ended_at NULLS LAST",
        )
        .bind(agent)
        .fetch_all(&world.pool)
        .await
        .expect("spans");
        assert_eq!(spans.len(), 4, "{spans:?}");
        assert!(spans.iter().all(|(_, open)| !open), "{spans:?}");
    });
}

#[test]
fn db_migrate_refuses_a_runtime_role_that_can_do_what_an_owner_can() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let name = format!("powerful_{}", Uuid::new_v4().simple());
        let (_, database) = world.url.rsplit_once('/').expect("a name");
        let url = suite::server().await.url_of(&name, database);
        let migrate = world
            .function("db-migrate")
            .with("RUNTIME_DATABASE_URL", &url);
        let superuser = "is or can become a superuser";
        let creator = "may create roles or databases";
        let bypasses_rights = "may read or write without having the right";
        let owner = "is or can become an owner";
        for (change, undo, problem) in [
            ("CREATE ROLE @ LOGIN SUPERUSER", "ALTER ROLE @ NOSUPERUSER", superuser),
            ("ALTER ROLE @ CREATEROLE", "ALTER ROLE @ NOCREATEROLE", creator),
            ("ALTER ROLE @ CREATEDB", "ALTER ROLE @ NOCREATEDB", creator),
            ("ALTER ROLE @ BYPASSRLS", "ALTER ROLE @ NOBYPASSRLS", bypasses_rights),
            ("ALTER ROLE @ REPLICATION", "ALTER ROLE @ NOREPLICATION", bypasses_rights),
            ("GRANT pg_read_all_data TO @", "REVOKE pg_read_all_data FROM @", bypasses_rights),
            ("GRANT pg_write_all_data TO @", "REVOKE pg_write_all_data FROM @", bypasses_rights),
            (
                "GRANT pg_execute_server_program TO @",
                "REVOKE pg_execute_server_program FROM @",
                bypasses_rights,
            ),
            ("GRANT postgres TO @", "REVOKE postgres FROM @", superuser),
            (
                "CREATE ROLE @_group NOINHERIT; GRANT postgres TO @_group;
                ALTER ROLE @ NOINHERIT; GRANT @_group TO @",
                "REVOKE @_group FROM @; DROP ROLE @_group",
                superuser,
            ),
            (
                "CREATE ROLE @_owner; CREATE TABLE public.theirs (); ALTER TABLE public.theirs OWNER TO @_owner;
                GRANT @_owner TO @",
                "DROP TABLE public.theirs; REVOKE @_owner FROM @; DROP ROLE @_owner",
                owner,
            ),
            (
                "CREATE ROLE @_dba; ALTER DATABASE # OWNER TO @_dba; GRANT @_dba TO @",
                "ALTER DATABASE # OWNER TO postgres; REVOKE @_dba FROM @; DROP ROLE @_dba",
                owner,
            ),
        ] {
            let fill = |sql: &str| AssertSqlSafe(sql.replace('@', &name).replace('#', database));
            sqlx::raw_sql(fill(change))
                .execute(&world.pool)
                .await
                .expect(change);
            let message = migrate.invoke_error(json!({})).await;
            assert!(message.contains(problem), "{change}: {message}");
            assert!(!message.contains(&name), "{change}: {message}");
            sqlx::raw_sql(fill(undo))
                .execute(&world.pool)
                .await
                .expect(undo);
        }
        // Rights that an earlier version granted are revoked.
        let earlier = format!("GRANT DELETE ON public.organizations TO {name}");
        sqlx::raw_sql(AssertSqlSafe(earlier))
            .execute(&world.pool)
            .await
            .expect("a right");
        migrate.invoke_ok(json!({})).await;
        let may_delete: bool =
            sqlx::query_scalar("SELECT has_table_privilege($1, 'public.organizations', 'DELETE')")
                .bind(&name)
                .fetch_one(&world.pool)
                .await
                .expect("an answer");
        assert!(!may_delete);
        // A valid role, but an address that leads to another database than the owner's.
        let other = suite::empty_database().await;
        let elsewhere = suite::server().await.url_of(&name, &other);
        let message = world
            .function("db-migrate")
            .with("RUNTIME_DATABASE_URL", &elsewhere)
            .invoke_error(json!({}))
            .await;
        assert!(message.contains("another database"), "{message}");
        // A schema named `cloud` that another role owns.
        let foreign = World::with_database(&suite::empty_database().await).await;
        let create = format!("CREATE SCHEMA cloud AUTHORIZATION {name}");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&foreign.pool)
            .await
            .expect("a schema");
        let message = foreign.function("db-migrate").invoke_error(json!({})).await;
        assert!(message.contains("belongs to another role"), "{message}");
    });
}

#[test]
fn an_owner_without_powers_of_its_own_migrates_and_creates_the_runtime_role() {
    run(async {
        let server = suite::server().await;
        let id = Uuid::new_v4().simple().to_string();
        let (owner, runtime) = (format!("Owner-{id}"), format!("Runtime-{id}"));
        let database = suite::empty_database().await;
        let world = World::with_database(&database).await;
        let setup = format!(
            "CREATE ROLE \"{owner}\" LOGIN CREATEROLE NOSUPERUSER;
            ALTER DATABASE {database} OWNER TO \"{owner}\";
            CREATE TABLE public.theirs (secret text)"
        );
        sqlx::raw_sql(AssertSqlSafe(setup))
            .execute(&world.pool)
            .await
            .expect("an owner");
        let migrate = world
            .function("db-migrate")
            .with("OWNER_DATABASE_URL", &server.url_of(&owner, &database))
            .with(
                "RUNTIME_DATABASE_URL",
                &server.url_of(&format!("{runtime}:it%27s%20secret"), &database),
            );
        let first = migrate.invoke_ok(json!({})).await;
        assert_eq!(first["migrations"]["applied"], first["migrations"]["total"]);
        migrate.invoke_ok(json!({"adopt": true})).await;
        // The password reaches the server as its verifier only.
        let verifier: String =
            sqlx::query_scalar("SELECT rolpassword FROM pg_authid WHERE rolname = $1")
                .bind(&runtime)
                .fetch_one(&world.pool)
                .await
                .expect("a role");
        assert!(verifier.starts_with("SCRAM-SHA-256$4096:"), "{verifier}");
        let settings: Vec<String> = sqlx::query_scalar(
            "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
            WHERE r.rolname = $1 ORDER BY 1",
        )
        .bind(&runtime)
        .fetch_all(&world.pool)
        .await
        .expect("settings");
        let expected = [
            "TimeZone=UTC",
            "idle_in_transaction_session_timeout=1min",
            "idle_session_timeout=1min",
            "jit=off",
            "lock_timeout=5s",
            "plan_cache_mode=force_generic_plan",
            "search_path=pg_catalog, pg_temp",
            "statement_timeout=10s",
        ];
        assert_eq!(settings, expected);
        // What another owner gave the role cannot be revoked by ours, so it is refused.
        let foreign = format!("GRANT SELECT ON public.theirs TO \"{runtime}\"");
        sqlx::raw_sql(AssertSqlSafe(foreign))
            .execute(&world.pool)
            .await
            .expect("a right");
        let message = migrate.invoke_error(json!({})).await;
        assert!(message.contains("SELECT ON public.theirs"), "{message}");
        let harmless = format!("REVOKE SELECT ON public.theirs FROM \"{runtime}\"");
        sqlx::raw_sql(AssertSqlSafe(harmless))
            .execute(&world.pool)
            .await
            .expect("a revoke");
        migrate.invoke_ok(json!({})).await;
        // As functions/OPERATIONS.md says, when the control plane has left.
        let remove = format!(
            "GRANT \"{runtime}\" TO CURRENT_USER; DROP OWNED BY \"{runtime}\"; DROP ROLE \"{runtime}\""
        );
        let as_owner = suite::pool(&server.url_of(&owner, &database), 1);
        sqlx::raw_sql(AssertSqlSafe(remove))
            .execute(&as_owner)
            .await
            .expect("the role is removed");
    });
}

#[test]
fn db_migrate_refuses_to_work_through_a_pooler() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let server = suite::server().await;
        let pooler = match dev::postgres::Pooler::start(server, "postgres", 2).await {
            Ok(pooler) => pooler,
            Err(error) => panic!("{error}"),
        };
        let (_, database) = world.url.rsplit_once('/').expect("a name");
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", pooler.port());
        let message = world
            .function("db-migrate")
            .with("OWNER_DATABASE_URL", &url)
            .invoke_error(json!({}))
            .await;
        assert!(message.contains("directly to the server"), "{message}");
        let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'cloud'";
        assert_eq!(world.count(schemas).await, 0);
    });
}

#[test]
fn functions_add_users_and_keys_and_make_nobody_a_super_admin() {
    run(async {
        let world = World::new().await;
        world.super_admin().await;
        let url = suite::runtime_url(&world.url);
        let mut functions = PgConnection::connect(&url).await.expect("a connection");
        for attack in [
            "INSERT INTO public.users (email, wallet_address) VALUES ('a@b.test', '0x1')",
            "INSERT INTO public.users (email, wallet_verified) VALUES ('a@b.test', true)",
            "INSERT INTO public.admin_users (wallet_address, role) VALUES ('0x1', 'super_admin')",
            "UPDATE public.admin_users SET user_id = NULL",
            "UPDATE public.users SET role = 'owner'",
            "UPDATE public.users SET organization_id = NULL",
            "UPDATE public.api_keys SET permissions = '[\"admin\"]'",
            "UPDATE public.api_keys SET user_id = NULL",
            "UPDATE public.organizations SET is_active = true",
            "DELETE FROM public.api_keys",
        ] {
            let refused = refusal(&mut functions, attack).await;
            assert_eq!(refused.as_deref(), Some(FORBIDDEN), "{attack}");
        }
    });
}

/// Gives another role what a tool or a careless grant may give it; `db-migrate` revokes it.
#[test]
fn f39_db_migrate_takes_back_what_would_make_another_role_the_owner() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let mut other = connect_as(&world, "web", &[]).await;
        let name: String = sqlx::query_scalar("SELECT current_user::text")
            .fetch_one(&mut other)
            .await
            .expect("a name");
        let defaults = format!(
            "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {name};
            ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {name};
            ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {name};
            ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO {name}"
        );
        sqlx::raw_sql(AssertSqlSafe(defaults))
            .execute(&world.pool)
            .await
            .expect("default privileges");
        let migrate = world.function("db-migrate");
        migrate.invoke_ok(json!({})).await;
        let sees = "SELECT has_schema_privilege(current_user, 'cloud', 'USAGE')";
        let sees: bool = sqlx::query_scalar(sees)
            .fetch_one(&mut other)
            .await
            .expect(sees);
        assert!(!sees);
        let later = format!(
            "GRANT USAGE ON SCHEMA cloud TO {name}; GRANT SELECT (id) ON cloud.billing_runs TO PUBLIC;
            GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}"
        );
        sqlx::raw_sql(AssertSqlSafe(later))
            .execute(&world.pool)
            .await
            .expect("rights");
        migrate.invoke_ok(json!({})).await;
        for attack in [
            "SELECT count(*) FROM cloud.usage_spans",
            "SELECT id FROM cloud.billing_runs",
            // A cascade would run it as the owner.
            "CREATE FUNCTION pg_temp.evil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
            CREATE TRIGGER evil BEFORE DELETE ON public.milady_sandboxes
            FOR EACH ROW EXECUTE FUNCTION pg_temp.evil()",
            "TRUNCATE public.organizations CASCADE",
            "CREATE TEMP TABLE pin (id uuid REFERENCES public.milady_sandboxes)",
        ] {
            let refused = refusal(&mut other, attack).await;
            assert!(refused.is_some(), "{attack}");
        }
        assert_eq!(refusal(&mut other, "DELETE FROM public.users").await, None);
    });
}

#[test]
fn db_migrate_refuses_a_runtime_role_from_which_rows_are_hidden() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let migrate = world.function("db-migrate");
        migrate.invoke_ok(json!({})).await;
        world
            .execute("ALTER TABLE public.users ENABLE ROW LEVEL SECURITY")
            .await;
        let message = migrate.invoke_error(json!({})).await;
        assert!(
            message.contains("row security hides rows") && message.contains("in users;"),
            "{message}"
        );
    });
}
