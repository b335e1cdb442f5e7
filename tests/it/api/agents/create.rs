//! `POST /api/v1/milady/agents`

use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::Request;
use tests::{World, check, check_field_errors, check_problem, run};
use uuid::Uuid;

const CREATE: &str = "/api/v1/milady/agents";

async fn row(world: &World, column: &'static str) -> Value {
    let sql = format!("SELECT to_jsonb({column}) FROM milady_sandboxes");
    let value: Option<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(&world.pool)
        .await
        .expect(column);
    value.unwrap_or_default()
}

#[test]
fn an_agent_is_created_and_its_fields_are_stored_unchanged() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let name = "O'Brien \"; DROP TABLE agents; -- $(reboot) <b>ü";
        let value = "line one\nline two\t'\"`$HOME` \\";
        let body = json!({
            "agentName": name,
            "agentConfig": {"bio": [value], "__miladyInternal": 1, "__milady": {}, "deep": {"__miladyKept": 1}},
            "environmentVars": {"OPENAI_API_KEY": value, "_": ""},
            "dockerImage": "milady/agent:cloud-full-ui", "somethingElse": {"is": "ignored"},
        });
        check(
            &world.post_json(&key, CREATE, &body).await,
            expect![[r#"
            201 application/json
            {
              "data": {
                "agentName": "O'Brien \"; DROP TABLE agents; -- $(reboot) <b>ü",
                "createdAt": "2026-03-01T00:00:00.000Z",
                "id": "<1>",
                "status": "pending"
              },
              "success": true
            }
        "#]],
        );
        assert_eq!(row(&world, "agent_name").await, json!(name));
        assert_eq!(
            row(&world, "agent_config").await,
            json!({"bio": [value], "deep": {"__miladyKept": 1}})
        );
        let environment = row(&world, "environment_vars").await;
        assert_eq!(environment["OPENAI_API_KEY"], json!(value));
        assert_eq!(
            environment["MILADY_API_TOKEN"].as_str().map(str::len),
            Some(64)
        );
        assert_eq!(row(&world, "status").await, json!("pending"));
        assert_eq!(row(&world, "hourly_rate").await, json!(null));
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
    });
}

#[test]
fn only_the_name_is_required_and_the_owner_can_choose_the_agents_key() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let body = json!({"agentName": "a", "environmentVars": {"MILADY_API_TOKEN": "mine"},
            "agentConfig": null, "characterId": null, "dockerImage": null});
        assert_eq!(world.post_json(&key, CREATE, &body).await.status(), 201);
        assert_eq!(
            row(&world, "environment_vars").await,
            json!({"MILADY_API_TOKEN": "mine"})
        );
        assert_eq!(row(&world, "agent_config").await, Value::Null);
    });
}

#[test]
fn an_image_that_is_not_allowed_is_refused() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        let body = json!({"agentName": "a", "dockerImage": "somebody/else:latest"});
        check_field_errors(
            &world.post_json(&key, CREATE, &body).await,
            "dockerImage is not an image that agents may run",
            &[("dockerImage", "is not an image that agents may run")],
        );
        let function = world
            .function("agent-create")
            .with("AGENT_IMAGE_ALLOW", "ghcr.io/ours/, docker.io/ours/agent:")
            .with("DEFAULT_AGENT_IMAGE", "registry.example/usual:1");
        for (image, status) in [
            ("ghcr.io/ours/agent:1", 201),
            ("docker.io/ours/agent:2", 201),
            // The default image is allowed even if the list does not contain it.
            ("registry.example/usual:1", 201),
            ("registry.example/usual:2", 400),
            ("ghcr.io/ours-too/agent:1", 400),
            ("GHCR.io/ours/agent:1", 400),
            ("x/ghcr.io/ours/agent:1", 400),
            ("docker.io/ours/agent", 201),
            ("docker.io/ours/agent-too:2", 400),
            ("ghcr.io/ours/../theirs/agent:1", 400),
            ("ghcr.io/ours", 400),
            ("milady/agent:cloud-full-ui", 400),
        ] {
            let body = json!({"agentName": "a", "dockerImage": image});
            let request = Request::new("POST", CREATE).key(&key).json(&body);
            let answer = world.call_function(&function, request).await;
            assert_eq!(answer.status(), status, "{image} {}", answer.text());
        }
    });
}

#[test]
fn every_invalid_field_is_reported() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let body = json!({
            "agentName": 7, "characterId": "x", "agentConfig": [], "environmentVars": "A=B",
            "dockerImage": "a b",
        });
        check_field_errors(
            &world.post_json(&key, CREATE, &body).await,
            "agentName must be a string, and 4 more",
            &[
                ("agentName", "must be a string"),
                ("characterId", "must be a UUID"),
                ("agentConfig", "must be an object"),
                ("environmentVars", "must be an object"),
                ("dockerImage", "must be an image reference"),
            ],
        );
        for (body, field) in [
            (json!({}), "agentName"),
            (json!({"agentName": null}), "agentName"),
            (json!({"agentName": ""}), "agentName"),
            (json!({"agentName": "   "}), "agentName"),
            (json!({"agentName": "a".repeat(101)}), "agentName"),
            (json!({"agentName": "a\nb"}), "agentName"),
            (json!({"agentName": "a\u{0}b"}), "agentName"),
            (json!({"agentName": "a\u{85}b"}), "agentName"),
            (json!({"agentName": "a", "characterId": 5}), "characterId"),
            (
                json!({"agentName": "a", "characterId": "00000000000000000000000000000000"}),
                "characterId",
            ),
            (
                json!({"agentName": "a", "agentConfig": {"x": ["\u{0}"]}}),
                "agentConfig",
            ),
            (
                json!({"agentName": "a", "agentConfig": {"x\u{0}": 1}}),
                "agentConfig",
            ),
            (
                json!({"agentName": "a", "environmentVars": {"A": 1}}),
                "environmentVars",
            ),
            (
                json!({"agentName": "a", "environmentVars": {"A": null}}),
                "environmentVars",
            ),
            (
                json!({"agentName": "a", "environmentVars": {"A": "\u{0}"}}),
                "environmentVars",
            ),
            (
                json!({"agentName": "a", "environmentVars": {"A": "x".repeat(65_536)}}),
                "environmentVars",
            ),
            (
                json!({"agentName": "a", "agentConfig": {"a": "x".repeat(65_536)}}),
                "agentConfig",
            ),
            (
                json!({"agentName": "a", "environmentVars": {"": "x"}}),
                "environmentVars",
            ),
            (
                json!({"agentName": "a", "environmentVars": {"LD-X": "x"}}),
                "environmentVars",
            ),
            (
                json!({"agentName": "a", "environmentVars": {"A=B": "x"}}),
                "environmentVars",
            ),
            (
                json!({"agentName": "a", "dockerImage": "--privileged"}),
                "dockerImage",
            ),
            (json!({"agentName": "a", "dockerImage": 1}), "dockerImage"),
            (json!([]), "body"),
            (json!("agent"), "body"),
        ] {
            let answer = world.post_json(&key, CREATE, &body).await;
            assert_eq!(answer.status(), 400, "{body}");
            assert_eq!(answer.json()["details"][0]["field"], json!(field), "{body}");
        }
        let hundred = json!({"agentName": "ü".repeat(100)});
        assert_eq!(world.post_json(&key, CREATE, &hundred).await.status(), 201);
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            1
        );
    });
}

#[test]
fn bodies_that_are_not_json_too_deep_too_large_or_of_another_type_are_refused() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let send = async |kind: Option<&str>, body: Vec<u8>| {
            let request = Request::new("POST", CREATE).key(&key).body(body);
            let typed = kind
                .into_iter()
                .fold(request, |r, kind| r.header("content-type", kind));
            world.call(typed).await
        };
        let json_kind = Some("application/json");
        let valid = br#"{"agentName":"a"}"#;
        let deep = |levels| {
            format!(
                "{{\"agentName\":\"a\",\"agentConfig\":{}1{}}}",
                "{\"a\":".repeat(levels),
                "}".repeat(levels)
            )
        };
        let long =
            |length: usize| format!("{{\"agentName\":\"a\",\"x\":\"{}\"}}", "x".repeat(length));
        for (kind, body, status) in [
            (json_kind, b"".to_vec(), 400),
            (json_kind, b"{".to_vec(), 400),
            (json_kind, b"{\"agentName\":\"a\"}}".to_vec(), 400),
            (json_kind, b"{\"agentName\":\"\xff\"}".to_vec(), 400),
            (
                json_kind,
                b"{\"agentName\":\"a\",\"x\":1e999}".to_vec(),
                400,
            ),
            (json_kind, deep(1_000).into_bytes(), 400),
            (json_kind, deep(100).into_bytes(), 201),
            (json_kind, long(1_048_600).into_bytes(), 413),
            (json_kind, long(1_000_000).into_bytes(), 201),
            (Some("application/json; charset=utf-8"), valid.to_vec(), 201),
            (None, valid.to_vec(), 201),
            (Some("text/plain"), valid.to_vec(), 415),
            (
                Some("application/x-www-form-urlencoded"),
                b"agentName=a".to_vec(),
                415,
            ),
            (
                Some("multipart/form-data; boundary=x"),
                b"--x".to_vec(),
                415,
            ),
        ] {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            let answer = send(kind, body).await;
            assert_eq!(
                answer.status(),
                status,
                "{kind:?} {shown} {}",
                answer.text()
            );
        }
        check_field_errors(
            &send(json_kind, b"{".to_vec()).await,
            "body must be JSON",
            &[("body", "must be JSON")],
        );
        check_problem(
            &send(json_kind, long(1_048_600).into_bytes()).await,
            413,
            "The body must not be longer than 1 MB",
        );
        check_problem(
            &send(Some("text/plain"), valid.to_vec()).await,
            415,
            "The body must be application/json",
        );
    });
}

#[test]
fn an_organization_that_cannot_pay_for_a_start_cannot_create_an_agent() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("4.99").await;
        let body = json!({"agentName": "a"});
        let refused = world.post_json(&key, CREATE, &body).await;
        check(
            &refused,
            expect![[r#"
            402 application/json
            {
              "currentBalance": 4.99,
              "error": "Insufficient credits: $5 required, $4.99 available",
              "requiredBalance": 5.0,
              "success": false
            }
        "#]],
        );
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            0
        );
        world.top_up(organization, "0.01").await;
        assert_eq!(world.post_json(&key, CREATE, &body).await.status(), 201);
    });
}

#[test]
fn a_character_must_exist_and_belong_to_the_organization() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let (mine, theirs) = (Uuid::new_v4(), Uuid::new_v4());
        let ask = async |character: Uuid| {
            let body = json!({"agentName": "a", "characterId": character});
            world.post_json(&key, CREATE, &body).await
        };
        // The table belongs to another application and may be missing, as here.
        check_problem(&ask(mine).await, 404, "Character not found");
        world
            .execute("CREATE TABLE user_characters (id uuid PRIMARY KEY, organization_id uuid)")
            .await;
        // It gives the role of the functions its right on the table.
        world.function("db-migrate").invoke_ok(json!({})).await;
        for (character, owner) in [(mine, organization), (theirs, Uuid::new_v4())] {
            sqlx::query("INSERT INTO user_characters VALUES ($1, $2)")
                .bind(character)
                .bind(owner)
                .execute(&world.pool)
                .await
                .expect("a character");
        }
        assert_eq!(ask(theirs).await.status(), 404);
        assert_eq!(ask(mine).await.status(), 201);
    });
}
