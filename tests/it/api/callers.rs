//! What callers may do: by role, by the permissions of a key, and by how often they call; and which credential counts.

use serde_json::{Value, json};
use shared::api::route::CallerKind;
use shared::api::routes;
use tests::privy;
use tests::suite::{ORIGIN, PRIVY_APP_ID, Request, epoch};
use tests::{World, check_limit, check_problem, run};
use uuid::Uuid;

const LIST: &str = "/api/v1/milady/agents";
const SESSION: &str = "/api/v1/session";
const ONLY_OPERATORS: &str = "Only operators may do this";

/// How somebody says who they are.
#[derive(Clone, Debug)]
enum Credential {
    Key(String),
    Session(String),
    Token(String),
}

impl Credential {
    fn sign(&self, request: Request) -> Request {
        match self {
            Self::Key(key) => request.key(key),
            Self::Session(cookie) => request.header("cookie", cookie).header("origin", ORIGIN),
            Self::Token(token) => request.header("authorization", &format!("Bearer {token}")),
        }
    }
}

async fn set(world: &World, sql: &str, organization: Uuid, value: &Value) {
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
        .bind(organization)
        .bind(value)
        .execute(&world.pool)
        .await
        .expect(sql);
}

async fn set_permissions(world: &World, organization: Uuid, permissions: &Value) {
    let sql = "UPDATE api_keys SET permissions = $2 WHERE organization_id = $1";
    set(world, sql, organization, permissions).await;
}

async fn set_role(world: &World, organization: Uuid, role: &str) {
    let sql = "UPDATE users SET role = $2 #>> '{}' WHERE organization_id = $1 AND name IS DISTINCT FROM 'Elder'";
    set(world, sql, organization, &json!(role)).await;
}

/// The cookie of a session that begins with this key.
async fn session(world: &World, key: &str) -> String {
    let begin = Request::new("POST", SESSION)
        .header("origin", ORIGIN)
        .json(&json!({"apiKey": key}));
    let response = world.call(begin).await;
    let header = response.header("set-cookie").expect("a cookie").to_owned();
    header.split(';').next().expect("the cookie").to_owned()
}

async fn token(world: &World, organization: Uuid) -> String {
    let subject = format!("did:privy:{}", organization.simple());
    let sql = "UPDATE users SET privy_user_id = $2 #>> '{}' WHERE organization_id = $1 AND name IS DISTINCT FROM 'Elder'";
    set(world, sql, organization, &json!(subject)).await;
    let expiry = epoch().timestamp() + 3600;
    let claims = json!({"iss": "privy.io", "aud": PRIVY_APP_ID, "sub": subject, "exp": expiry});
    privy::provider().sign(&claims, None)
}

/// Adds somebody older, so that the organization's user owns it only by their role.
async fn add_elder(world: &World, organization: Uuid, role: &str) {
    sqlx::query(
        "INSERT INTO users (name, organization_id, role, created_at) VALUES ('Elder', $1, $2, '2020-01-01')",
    )
    .bind(organization)
    .bind(role)
    .execute(&world.pool)
    .await
    .expect("a user");
}

#[test]
fn f47_every_route_allows_each_role_with_each_credential_what_it_describes() {
    run(async {
        let world = World::new().await;
        let mut cases = Vec::new();
        for role in ["owner", "admin", "member", "anything else", "viewer"] {
            let (organization, key) = world.tenant("5").await;
            add_elder(&world, organization, "owner").await;
            set_role(&world, organization, role).await;
            let owns = matches!(role, "owner" | "admin");
            let manages = role != "viewer";
            let of_token = Credential::Token(token(&world, organization).await);
            cases.push((role, "a token", of_token, manages, owns, owns));
            let of_session = Credential::Session(session(&world, &key).await);
            cases.push((role, "a session", of_session, manages, owns, owns));
            cases.push((role, "a key", Credential::Key(key), manages, owns, owns));
        }
        for (permissions, has_agents, has_billing) in [
            (json!(["agents"]), true, false),
            (json!(["agents", "admin"]), true, false),
            (json!(["read", "billing"]), false, true),
            (json!(["inference"]), false, false),
        ] {
            let (organization, key) = world.tenant("5").await;
            set_permissions(&world, organization, &permissions).await;
            let of_session = Credential::Session(session(&world, &key).await);
            cases.push((
                "owner",
                "a session of a restricted key",
                of_session,
                has_agents,
                has_agents,
                has_billing,
            ));
            let of_key = Credential::Key(key);
            cases.push((
                "owner",
                "a restricted key",
                of_key,
                has_agents,
                has_agents,
                has_billing,
            ));
        }
        let id = Uuid::new_v4().to_string();
        for route in routes::all() {
            let path = route.path.replace("{agentId}", &id).replace("{jobId}", &id);
            for (role, kind, credential, manages, owns, settles) in &cases {
                let is_allowed = match route.caller {
                    CallerKind::Reader => true,
                    CallerKind::AgentManager => *manages,
                    CallerKind::AgentOwner => *owns,
                    CallerKind::Owner => *settles,
                    CallerKind::SuperAdmin => false,
                    CallerKind::Browser | CallerKind::Scheduler | CallerKind::Anybody => continue,
                };
                let request = credential.sign(Request::new(route.method, &path));
                let status = world.call(request).await.status();
                let case = format!("{} {} as {role} with {kind}", route.method, route.path);
                assert_eq!(status != 403, is_allowed, "{case}: {status}");
                assert_ne!(status, 401, "{case}");
            }
        }
    });
}

#[test]
fn a_refused_caller_learns_whether_role_or_key_is_the_reason() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "stopped").await;
        add_elder(&world, organization, "admin").await;
        let create = || {
            Request::new("POST", LIST)
                .key(&key)
                .json(&json!({"agentName": "a"}))
        };
        let delete = || Request::new("DELETE", &format!("{LIST}/{agent}")).key(&key);
        set_role(&world, organization, "viewer").await;
        let viewer = "Viewers may only read; ask an owner of the organization";
        check_problem(&world.call(create()).await, 403, viewer);
        check_problem(&world.call(delete()).await, 403, viewer);
        set_role(&world, organization, "member").await;
        assert_eq!(world.call(create()).await.status(), 201);
        let not_owner = "Only owners of the organization may delete agents";
        check_problem(&world.call(delete()).await, 403, not_owner);
        // What this product says of a role comes before what the other application's column says.
        let role = "INSERT INTO cloud.member_roles (organization_id, user_id, role, changed_at)
            SELECT organization_id, id, 'owner', now() FROM users WHERE organization_id = $1 AND $2 IS NOT NULL
                AND role = 'member'";
        set(&world, role, organization, &json!(1)).await;
        set_permissions(&world, organization, &json!(["read"])).await;
        let only_reads = "This API key may only read: its permissions do not name \"agents\"";
        check_problem(&world.call(delete()).await, 403, only_reads);
        set_permissions(&world, organization, &json!([])).await;
        assert_eq!(world.call(delete()).await.status(), 200);
    });
}

#[test]
fn where_nobody_owns_an_organization_its_oldest_active_user_does() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let delete = || Request::new("DELETE", &format!("{LIST}/{}", Uuid::new_v4())).key(&key);
        set_role(&world, organization, "member").await;
        assert_eq!(world.call(delete()).await.status(), 404);
        add_elder(&world, organization, "member").await;
        assert_eq!(world.call(delete()).await.status(), 403);
        world
            .execute("UPDATE users SET is_active = false WHERE name = 'Elder'")
            .await;
        assert_eq!(world.call(delete()).await.status(), 404);
        set_role(&world, organization, "viewer").await;
        assert_eq!(world.call(delete()).await.status(), 404);
        // Whom this product made a viewer stays one.
        let viewer = "INSERT INTO cloud.member_roles (organization_id, user_id, role, changed_at)
            SELECT organization_id, id, 'viewer', now() FROM users WHERE organization_id = $1 AND $2 IS NOT NULL
                AND is_active";
        set(&world, viewer, organization, &json!(1)).await;
        assert_eq!(world.call(delete()).await.status(), 403);
    });
}

#[test]
fn f47_only_a_super_admins_key_that_names_admin_opens_the_routes_of_operators() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let nodes = || world.get(&key, "/api/v1/admin/docker-nodes");
        set_permissions(&world, organization, &json!(["admin"])).await;
        check_problem(&nodes().await, 403, ONLY_OPERATORS);
        world.make_admin(organization, "super_admin").await;
        for (permissions, status) in [
            (json!(["admin"]), 200),
            (json!(["read", "agents", "billing"]), 403),
            (json!([]), 403),
            (json!(["super_admin"]), 403),
            (json!("admin"), 403),
        ] {
            set_permissions(&world, organization, &permissions).await;
            assert_eq!(nodes().await.status(), status, "{permissions}");
        }
        // A person who has signed in is limited by no key.
        let token = token(&world, organization).await;
        let signed_in =
            Credential::Token(token).sign(Request::new("GET", "/api/v1/admin/docker-nodes"));
        assert_eq!(world.call(signed_in).await.status(), 200);
    });
}

#[test]
fn f47_a_keys_rate_limit_counts_its_requests_of_a_minute() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let (_, other_key) = world.tenant("5").await;
        let cookie = session(&world, &key).await;
        let limit =
            "UPDATE api_keys SET rate_limit = ($2 #>> '{}')::integer WHERE organization_id = $1";
        set(&world, limit, organization, &json!(3)).await;
        // So that the minute does not end between the requests.
        let second: f64 =
            sqlx::query_scalar("SELECT extract(second FROM clock_timestamp())::float8")
                .fetch_one(&world.pool)
                .await
                .expect("a time");
        if second > 40.0 {
            tokio::time::sleep(std::time::Duration::from_secs_f64(60.5 - second)).await;
        }
        world
            .execute("UPDATE cloud.request_counts SET requests = 0")
            .await;
        assert_eq!(world.get(&key, LIST).await.status(), 200);
        assert_eq!(world.get(&key, LIST).await.status(), 200);
        let by_cookie = || Request::new("GET", LIST).header("cookie", &cookie);
        assert_eq!(world.call(by_cookie()).await.status(), 200);
        let refused = world.call(by_cookie()).await;
        let text = "The limit requestsPerKeyAndMinute of 3 is reached; please try again later";
        check_limit(&refused, 429, text, ("requestsPerKeyAndMinute", 3, 3));
        let seconds: u32 = refused
            .header("retry-after")
            .expect("a time")
            .parse()
            .expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
        // Within a second the function refuses the key again without asking the database.
        for _ in 0..5 {
            assert_eq!(world.get(&key, LIST).await.status(), 429);
        }
        let asked_nothing = |line: &Value| line["status"] == 429 && line["db_queries"] == 0;
        let logs = world.logs("agent-list").await;
        let lines = logs
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        assert!(lines.filter(asked_nothing).count() > 0, "{logs:?}");
        assert_eq!(world.get(&other_key, LIST).await.status(), 200);
        // Those above the limit are not counted, so that they wait for no lock.
        assert_eq!(
            world
                .count("SELECT max(requests)::bigint FROM cloud.request_counts")
                .await,
            4
        );
        // Another minute begins. A function remembers a refusal for a second.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        world
            .execute("UPDATE cloud.request_counts SET minute = minute - interval '1 hour'")
            .await;
        assert_eq!(world.get(&key, LIST).await.status(), 200);
        // Limits that are none are the default of the column.
        set(&world, limit, organization, &json!(0)).await;
        assert_eq!(world.get(&key, LIST).await.status(), 200);
    });
}

#[test]
fn f47_a_credential_that_is_not_valid_uses_up_nobodys_limit() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let rotated = session(&world, &key).await;
        let rotate = "UPDATE api_keys SET key_hash = encode(sha256(key_hash::bytea), 'hex')
            WHERE organization_id = $1 AND $2 IS NOT NULL";
        set(&world, rotate, organization, &json!(1)).await;
        let live_key = world.key(organization).await;
        let expired = session(&world, &live_key).await;
        let signed_out = session(&world, &live_key).await;
        let sign_out = Request::new("DELETE", SESSION)
            .header("origin", ORIGIN)
            .header("cookie", &signed_out);
        assert_eq!(world.call(sign_out).await.status(), 200);
        let expired_token = token(&world, organization).await;
        world.set_clock(tests::world::hours(13)).await;
        let counted = "SELECT coalesce(sum(requests), 0)::bigint FROM cloud.request_counts";
        let before = world.count(counted).await;
        let cookies = [
            rotated,
            expired,
            signed_out,
            format!("privy-token={expired_token}"),
        ];
        for cookie in &cookies {
            let request = Request::new("GET", LIST).header("cookie", cookie);
            assert_eq!(world.call(request).await.status(), 401, "{cookie}");
        }
        assert_eq!(world.count(counted).await, before);
        assert_eq!(world.get(&live_key, LIST).await.status(), 200);
        assert_eq!(world.count(counted).await, before + 1);
    });
}

#[test]
fn f48_a_cookie_that_is_not_valid_hides_no_other_one() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let session_cookie = session(&world, &key).await;
        let valid = token(&world, organization).await;
        let expired = json!({"iss": "privy.io", "aud": PRIVY_APP_ID, "sub": "did:privy:x",
            "exp": epoch().timestamp() - 3600});
        let expired = privy::provider().sign(&expired, None);
        let unknown = json!({"iss": "privy.io", "aud": PRIVY_APP_ID, "sub": "did:privy:nobody",
            "exp": epoch().timestamp() + 3600});
        let unknown = privy::provider().sign(&unknown, None);
        for (cookies, status) in [
            (format!("privy-token={expired}; {session_cookie}"), 200),
            (format!("privy-token=x; {session_cookie}"), 200),
            (format!("privy-token=; {session_cookie}"), 200),
            (format!("privy-token={unknown}; {session_cookie}"), 200),
            (format!("{session_cookie}; privy-token={expired}"), 200),
            (format!("privy-token={expired}; privy-token={valid}"), 200),
            (format!("__Host-milady=x; {session_cookie}"), 200),
            (format!("privy-token={valid}; __Host-milady=x"), 200),
            (format!("privy-token={expired}; __Host-milady=x"), 401),
            (format!("privy-token={expired}"), 401),
        ] {
            let request = Request::new("GET", LIST).header("cookie", &cookies);
            assert_eq!(world.call(request).await.status(), status, "{cookies}");
            // A header that is not valid stays 401 whatever the cookies say.
            for (name, value) in [
                ("x-api-key", "nonsense"),
                ("authorization", "Bearer nonsense"),
                ("authorization", "Basic x"),
            ] {
                let request = Request::new("GET", LIST)
                    .header("cookie", &cookies)
                    .header(name, value);
                assert_eq!(world.call(request).await.status(), 401, "{name}: {value}");
            }
        }
        // An account that is not active does not hide another one, and is said if there is no other.
        let inactive = token(&world, world.tenant("5").await.0).await;
        world
            .execute("UPDATE users SET is_active = false WHERE created_at = (SELECT max(created_at) FROM users)")
            .await;
        let request = |cookies: &str| Request::new("GET", LIST).header("cookie", cookies);
        let both = format!("privy-token={inactive}; {session_cookie}");
        assert_eq!(world.call(request(&both)).await.status(), 200);
        let alone = format!("privy-token={inactive}; __Host-milady=x");
        assert_eq!(world.call(request(&alone)).await.status(), 403);
    });
}

#[test]
fn f50_signing_out_ends_the_session_everywhere_and_so_does_a_new_key() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let stolen = session(&world, &key).await;
        let other = session(&world, &key).await;
        assert_ne!(stolen, other);
        let status = async |cookie: &str| {
            let request = Request::new("GET", LIST).header("cookie", cookie);
            world.call(request).await.status()
        };
        let sign_out = |cookie: &str| {
            Request::new("DELETE", SESSION)
                .header("origin", ORIGIN)
                .header("cookie", cookie)
        };
        assert_eq!(world.call(sign_out(&stolen)).await.status(), 200);
        assert_eq!((status(&stolen).await, status(&other).await), (401, 200));
        // Again, and with a cookie that nobody signed: as if there were no session.
        for cookie in [stolen.as_str(), "__Host-milady=x", "theme=dark"] {
            assert_eq!(world.call(sign_out(cookie)).await.status(), 200);
        }
        let ended = "SELECT count(*) FROM cloud.ended_sessions";
        assert_eq!(world.count(ended).await, 1);
        let rotate = "UPDATE api_keys SET key_hash = encode(sha256(key_hash::bytea), 'hex')
            WHERE organization_id = $1 AND $2 IS NOT NULL";
        set(&world, rotate, organization, &json!(1)).await;
        assert_eq!(status(&other).await, 401);
        // Those that have expired are forgotten.
        world.set_clock(tests::world::hours(13)).await;
        let (_, key) = world.tenant("5").await;
        let later = session(&world, &key).await;
        assert_eq!(world.call(sign_out(&later)).await.status(), 200);
        assert_eq!(world.count(ended).await, 1);
    });
}

#[test]
fn f52_variables_that_load_code_or_replace_the_platforms_are_refused_by_name() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        for (variables, message) in [
            (
                json!({"NODE_OPTIONS": "--require /x"}),
                "must not set NODE_OPTIONS",
            ),
            (
                json!({"LD_PRELOAD": "/x.so", "A": "1"}),
                "must not set LD_PRELOAD",
            ),
            (
                json!({"LD_AUDIT": "", "BASH_ENV": "/x"}),
                "must not set BASH_ENV, LD_AUDIT",
            ),
            (
                json!({"DATABASE_URL": "postgres://x", "PORT": "1"}),
                "must not set DATABASE_URL, PORT",
            ),
            (json!({"JWT_SECRET": "known"}), "must not set JWT_SECRET"),
            (
                json!({"npm_config_node_options": "x"}),
                "must not set npm_config_node_options",
            ),
            (json!({"BASH_FUNC_ls%%": "() { :; }"}), "names must match"),
            (
                json!({"MILADY_API_TOKEN": ""}),
                "MILADY_API_TOKEN must be visible ASCII characters",
            ),
            (
                json!({"MILADY_API_TOKEN": "a b"}),
                "MILADY_API_TOKEN must be visible ASCII characters",
            ),
        ] {
            let body = json!({"agentName": "a", "environmentVars": variables});
            let response = world.post_json(&key, LIST, &body).await;
            assert_eq!(response.status(), 400, "{variables}");
            let text = response.text();
            assert!(text.contains(message), "{variables}: {text}");
        }
        let body = json!({"agentName": "a", "environmentVars": {
            "node_options": "x", "LDAP_URL": "x", "MY_PORT": "1", "PATHS": "x", "MILADY_API_TOKEN": "mine"}});
        assert_eq!(world.post_json(&key, LIST, &body).await.status(), 201);
    });
}
