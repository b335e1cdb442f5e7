//! `GET /api/v1/milady/config`

use expect_test::expect;
use serde_json::json;
use tests::suite::Request;
use tests::{World, check, run};

const CONFIG: &str = "/api/v1/milady/config";

#[test]
fn config_shows_the_settings_of_the_deployment() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("0").await;
        let function = world
            .function("config-get")
            .with("MILADY_RUNNING_HOURLY", "0.03")
            .with("MILADY_GRACE_HOURS", "24")
            .with("DEFAULT_AGENT_IMAGE", "ghcr.io/ours/agent:1")
            .with("AGENT_IMAGE_ALLOW", "milady/,ghcr.io/ours/");
        let request = || Request::new("GET", CONFIG).key(&key);
        let answer = world.call_function(&function, request()).await;
        check(
            &answer,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "defaultImage": "ghcr.io/ours/agent:1",
                    "graceHours": 24,
                    "imagePrefixes": [
                      "milady/",
                      "ghcr.io/ours/"
                    ],
                    "limits": {
                      "agentConfigBytes": 65536,
                      "agentNameCharacters": 100,
                      "bodyBytes": 1048576,
                      "environmentBytes": 65536,
                      "environmentNameBytes": 128,
                      "imageBytes": 255,
                      "snapshotsPerAgentAndHour": 6,
                      "startsPerAgentAndHour": 10
                    },
                    "lowCredit": 2.0,
                    "minimumDeposit": 5.0,
                    "pairing": true,
                    "prices": {
                      "idle": 0.0025,
                      "running": 0.03
                    }
                  },
                  "success": true
                }
            "#]],
        );
        let tag = answer.header("etag").expect("a tag");
        let again = request().header("if-none-match", tag);
        assert_eq!(world.call_function(&function, again).await.status(), 304);
        let without_addresses = function.without("AGENT_BASE_DOMAIN");
        let answer = world.call_function(&without_addresses, request()).await;
        assert_eq!(answer.json()["data"]["pairing"], json!(false));
        assert_eq!(world.call(Request::new("GET", CONFIG)).await.status(), 401);
        sqlx::query("UPDATE organizations SET is_active = false WHERE id = $1")
            .bind(organization)
            .execute(&world.pool)
            .await
            .expect("an organization");
        assert_eq!(world.call(request()).await.status(), 403);
    });
}
