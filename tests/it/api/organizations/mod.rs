//! `POST /api/v1/admin/organizations`, `GET|POST .../{organizationId}/users`, `POST .../{organizationId}/api-keys` and
//! `DELETE .../{organizationId}/api-keys/{keyId}`

mod keys;
mod users;

use expect_test::expect;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::suite::{self, ORIGIN, Request, Response};
use tests::world::minutes;
use tests::{World, audit, check, check_field_errors, check_problem, run};
use uuid::Uuid;

const ORGANIZATIONS: &str = "/api/v1/admin/organizations";
const AGENTS: &str = "/api/v1/milady/agents";
const NAME_RULE: &str = "must be 1 to 100 characters without control characters, not all blank";

fn users_path(organization: impl std::fmt::Display) -> String {
    format!("{ORGANIZATIONS}/{organization}/users")
}

fn keys_path(organization: impl std::fmt::Display) -> String {
    format!("{ORGANIZATIONS}/{organization}/api-keys")
}

/// A POST with an Idempotency-Key of its own.
async fn post(world: &World, key: &str, path: &str, body: &Value) -> Response {
    let idempotency_key = Uuid::new_v4().to_string();
    let request = Request::new("POST", path).key(key).json(body);
    world
        .call(request.header("idempotency-key", &idempotency_key))
        .await
}

async fn revoke(
    world: &World,
    key: &str,
    organization: Uuid,
    id: impl std::fmt::Display,
) -> Response {
    let path = format!("{}/{id}", keys_path(organization));
    world.call(Request::new("DELETE", &path).key(key)).await
}

fn text_in(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn id_in(value: &Value) -> Uuid {
    text_in(value).parse().expect("an id")
}

/// The owner of an organization that has no other user.
async fn owner(world: &World, organization: Uuid) -> Uuid {
    sqlx::query_scalar("SELECT id FROM users WHERE organization_id = $1")
        .bind(organization)
        .fetch_one(&world.pool)
        .await
        .expect("a user")
}

/// Makes a key that nobody restricted. Returns its id and the key.
async fn new_key(world: &World, operator: &str, organization: Uuid, user: Uuid) -> (Uuid, String) {
    let body = json!({"userId": user, "name": "new"});
    let created = world
        .post_json(operator, &keys_path(organization), &body)
        .await;
    assert_eq!(created.status(), 201, "{created:?}");
    let data = &created.json()["data"];
    (id_in(&data["id"]), text_in(&data["apiKey"]))
}

async fn begin_session(world: &World, key: &str) -> Response {
    let begin = Request::new("POST", "/api/v1/session").header("origin", ORIGIN);
    world.call(begin.json(&json!({"apiKey": key}))).await
}

#[test]
fn an_empty_deployment_gets_an_organization_whose_key_creates_an_agent() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let bootstrap = json!({"bootstrap": {"organization": "Operators", "email": "you@example.test",
            "wallet": "0x00000000000000000000000000000000000000ff"}});
        let answer = world.function("db-migrate").invoke_ok(bootstrap).await;
        let operator = text_in(&answer["bootstrap"]["apiKey"]);
        let body = json!({"name": "Acme", "ownerEmail": "ada@acme.example", "ownerName": "Ada"});
        let created = post(&world, &operator, ORGANIZATIONS, &body).await.json();
        let organization = id_in(&created["data"]["id"]);
        let owner = id_in(&created["data"]["ownerId"]);
        let (_, key) = new_key(&world, &operator, organization, owner).await;
        let create = json!({"agentName": "first"});
        let without_credit = world.post_json(&key, AGENTS, &create).await;
        assert_eq!(without_credit.status(), 402, "{without_credit:?}");
        let grant = json!({"organizationId": organization, "amount": 20, "reason": "First credit"});
        let granted = post(&world, &operator, "/api/v1/admin/credits", &grant).await;
        assert_eq!(granted.status(), 201, "{granted:?}");
        let agent = world.post_json(&key, AGENTS, &create).await;
        assert_eq!(agent.status(), 201, "{agent:?}");
        let made: Value = sqlx::query_scalar(
            "SELECT jsonb_build_object('organization', organization_id, 'owner', user_id) FROM milady_sandboxes",
        )
        .fetch_one(&world.pool)
        .await
        .expect("an agent");
        assert_eq!(made, json!({"organization": organization, "owner": owner}));
        // The same key signs the owner in to the dashboard.
        let session = begin_session(&world, &key).await.json();
        let data = &session["data"];
        assert_eq!(data["organizationName"], json!("Acme"));
        assert_eq!(
            (&data["role"], &data["superAdmin"]),
            (&json!("owner"), &json!(false))
        );
        assert_eq!(data["permissions"], json!(["read", "agents", "billing"]));
    });
}

#[test]
fn an_organization_is_added_once_without_credit_and_recorded() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let body = json!({"name": " Acme & Sons ", "ownerEmail": "Ada@Acme.example"});
        let request = || {
            let request = Request::new("POST", ORGANIZATIONS)
                .key(&operator)
                .json(&body);
            request.header("idempotency-key", "once")
        };
        let first = world.call(request()).await;
        check(
            &first,
            expect![[r#"
            201 application/json
            {
              "data": {
                "id": "<1>",
                "ownerId": "<2>"
              },
              "success": true
            }
        "#]],
        );
        let repeated = world.call(request()).await;
        assert_eq!((repeated.status(), repeated.json()), (201, first.json()));
        let organization = id_in(&first.json()["data"]["id"]);
        let row: (String, String, Decimal, String, Option<String>, String) = sqlx::query_as(
            "SELECT o.name, o.slug, o.credit_balance, u.email, u.name, u.role
            FROM organizations o JOIN users u ON u.organization_id = o.id WHERE o.id = $1",
        )
        .bind(organization)
        .fetch_one(&world.pool)
        .await
        .expect("one owner");
        let (name, slug, balance, email, owner_name, role) = row;
        assert_eq!((name.as_str(), slug.as_str()), ("Acme & Sons", "acme-sons"));
        assert_eq!((balance, owner_name), (Decimal::ZERO, None));
        assert_eq!(
            (email.as_str(), role.as_str()),
            ("ada@acme.example", "owner")
        );
        let entry: Value = sqlx::query_scalar(
            "SELECT jsonb_build_object('action', action, 'details', details, 'result', result)
            FROM admin_audit_log WHERE subject = $1::text",
        )
        .bind(organization)
        .fetch_one(&world.pool)
        .await
        .expect("one entry");
        let owner = &first.json()["data"]["ownerId"];
        assert_eq!(
            entry,
            json!({"action": "organization.create", "result": "created",
                "details": {"name": "Acme & Sons", "slug": "acme-sons", "ownerId": owner}})
        );
        world.set_clock(minutes(1)).await;
        world.top_up(organization, "10").await;
        world.agent(organization, "running").await;
        world.run_billing(2).await;
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_slug_and_a_mail_address_belong_to_one_only() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let body =
            |slug: &str, email: &str| json!({"name": "A", "slug": slug, "ownerEmail": email});
        let first = post(
            &world,
            &operator,
            ORGANIZATIONS,
            &body("acme", "a@acme.example"),
        )
        .await;
        assert_eq!(first.status(), 201, "{first:?}");
        let rows = "SELECT (SELECT count(*) FROM organizations) + (SELECT count(*) FROM users)
            + (SELECT count(*) FROM admin_audit_log)";
        let before = world.count(rows).await;
        let taken = post(
            &world,
            &operator,
            ORGANIZATIONS,
            &body("acme", "b@acme.example"),
        )
        .await;
        check_problem(&taken, 409, "The slug acme is taken; choose another one");
        let exists = "A user with this mail address exists";
        let taken = post(
            &world,
            &operator,
            ORGANIZATIONS,
            &body("other", "A@ACME.example"),
        )
        .await;
        check_problem(&taken, 409, exists);
        let (organization, _) = world.tenant("0").await;
        let body = json!({"email": "a@acme.example", "role": "member"});
        let taken = post(&world, &operator, &users_path(organization), &body).await;
        check_problem(&taken, 409, exists);
        // Besides the tenant and its owner.
        assert_eq!(world.count(rows).await, before + 2);
    });
}

#[test]
fn every_invalid_field_of_an_organization_user_or_key_is_named() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, _) = world.tenant("0").await;
        let slug = "must be lower-case letters and digits, joined by single dashes, 100 at most";
        let address = ("ownerEmail", "must be a mail address");
        let body =
            json!({"name": " ", "slug": "No Slug", "ownerEmail": "nobody", "ownerName": "\n"});
        check_field_errors(
            &post(&world, &operator, ORGANIZATIONS, &body).await,
            &format!("name {NAME_RULE}, and 3 more"),
            &[
                ("name", NAME_RULE),
                ("slug", slug),
                address,
                ("ownerName", NAME_RULE),
            ],
        );
        check_field_errors(
            &post(
                &world,
                &operator,
                &users_path(organization),
                &json!({"role": "admin"}),
            )
            .await,
            "email is required, and 1 more",
            &[
                ("email", "is required"),
                ("role", "must be owner, member or viewer"),
            ],
        );
        let permissions = "must be a list of at least one of read, agents, billing and admin";
        for wrong in [json!([]), json!("read"), json!(["read", "*"]), json!([1])] {
            let body = json!({"permissions": wrong});
            check_field_errors(
                &world
                    .post_json(&operator, &keys_path(organization), &body)
                    .await,
                "userId is required, and 2 more",
                &[
                    ("userId", "is required"),
                    ("name", "is required"),
                    ("permissions", permissions),
                ],
            );
        }
        for path in [ORGANIZATIONS.to_owned(), users_path(organization)] {
            let body = json!({"name": "A", "ownerEmail": "a@b.example", "email": "a@b.example", "role": "viewer"});
            check_field_errors(
                &world.post_json(&operator, &path, &body).await,
                "Idempotency-Key is required",
                &[("Idempotency-Key", "is required")],
            );
        }
    });
}

#[test]
fn unknown_organizations_users_and_keys_are_not_found() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, _) = world.tenant("0").await;
        let (others, _) = world.tenant("0").await;
        let stranger = owner(&world, others).await;
        let no_organization = "Organization not found";
        let user = json!({"email": "a@b.example", "role": "viewer"});
        let key = |user: Uuid| json!({"userId": user, "name": "k"});
        let nobody = Uuid::nil();
        let unknown = post(&world, &operator, &users_path(nobody), &user).await;
        check_problem(&unknown, 404, no_organization);
        let unknown = world.get(&operator, &users_path(nobody)).await;
        check_problem(&unknown, 404, no_organization);
        let unknown = world
            .post_json(&operator, &keys_path(nobody), &key(stranger))
            .await;
        check_problem(&unknown, 404, no_organization);
        for user in [nobody, stranger] {
            let unknown = world
                .post_json(&operator, &keys_path(organization), &key(user))
                .await;
            check_problem(&unknown, 404, "User not found");
        }
        let malformed = [("organizationId", "must be a UUID")];
        let error = "organizationId must be a UUID";
        check_field_errors(
            &world.get(&operator, &users_path("x")).await,
            error,
            &malformed,
        );
        check_field_errors(
            &post(&world, &operator, &users_path("x"), &user).await,
            error,
            &malformed,
        );
        check_field_errors(
            &world
                .post_json(&operator, &keys_path("x"), &key(nobody))
                .await,
            error,
            &malformed,
        );
        check_field_errors(
            &revoke(&world, &operator, organization, "x").await,
            "keyId must be a UUID",
            &[("keyId", "must be a UUID")],
        );
    });
}

#[test]
fn only_super_admins_add_organizations_users_and_keys() {
    run(async {
        let world = World::new().await;
        let (organization, owners_key) = world.tenant("0").await;
        let (moderators, moderator) = world.tenant("0").await;
        world.make_admin(moderators, "moderator").await;
        let user = owner(&world, organization).await;
        let key_id = Uuid::nil();
        let rows = "SELECT (SELECT count(*) FROM organizations) + (SELECT count(*) FROM users)
            + (SELECT count(*) FROM api_keys WHERE is_active)";
        let before = world.count(rows).await;
        for (method, path, body) in [
            (
                "POST",
                ORGANIZATIONS.to_owned(),
                json!({"name": "A", "ownerEmail": "a@b.example"}),
            ),
            (
                "POST",
                users_path(organization),
                json!({"email": "a@b.example", "role": "owner"}),
            ),
            ("GET", users_path(organization), json!({})),
            (
                "POST",
                keys_path(organization),
                json!({"userId": user, "name": "k"}),
            ),
            (
                "DELETE",
                format!("{}/{key_id}", keys_path(organization)),
                json!({}),
            ),
        ] {
            let request = || {
                let request = Request::new(method, &path).json(&body);
                request.header("idempotency-key", "once")
            };
            assert_eq!(world.call(request()).await.status(), 401, "{method} {path}");
            // Not even for one's own organization.
            for key in [&owners_key, &moderator] {
                let refused = world.call(request().key(key)).await;
                check_problem(&refused, 403, "Only operators may do this");
            }
        }
        assert_eq!(world.count(rows).await, before);
    });
}
