//! Members of a request's body that its route does not describe: they are ignored, whatever column or right they name.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use shared::api::openapi::DOCUMENT;
use shared::api::routes;
use tests::suite::{ORIGIN, Request};
use tests::{World, run};
use uuid::Uuid;

/// What a world must be like after each request, except for identifiers and times.
const STATE: &str = "SELECT jsonb_agg(r ORDER BY r::text) FROM (
    SELECT jsonb_build_array('organization', name, credit_balance, is_active) FROM organizations
    UNION ALL
    SELECT jsonb_build_array('user', o.name, u.role, u.is_active, u.wallet_verified)
    FROM users u JOIN organizations o ON o.id = u.organization_id
    UNION ALL
    SELECT jsonb_build_array('key', o.name, k.permissions, k.rate_limit, k.is_active)
    FROM api_keys k JOIN organizations o ON o.id = k.organization_id
    UNION ALL
    SELECT jsonb_build_array('admin', role) FROM admin_users
    UNION ALL
    SELECT jsonb_build_array('role', role) FROM cloud.member_roles
    UNION ALL
    SELECT jsonb_build_array('agent', o.name, a.agent_name, a.status, a.billing_status, a.hourly_rate,
        a.total_billed, a.node_id, a.container_name, a.bridge_port, a.sandbox_id, a.database_uri)
    FROM milady_sandboxes a JOIN organizations o ON o.id = a.organization_id
    UNION ALL
    SELECT jsonb_build_array('job', o.name, j.type, j.status)
    FROM jobs j JOIN organizations o ON o.id = j.organization_id
    UNION ALL
    SELECT jsonb_build_array('host', node_id, hostname, ssh_port, ssh_user, capacity, allocated_count, enabled)
    FROM docker_nodes
    UNION ALL
    SELECT jsonb_build_array('limits', o.name, l.agents, l.active_starts, l.running_starts, l.open_streams)
    FROM cloud.organization_limits l JOIN organizations o ON o.id = l.organization_id
) AS state (r)";

/// A valid request with a body.
struct Case {
    route: &'static str,
    path: String,
    body: Value,
    key: String,
}

/// A world with an organization, an operator and a stranger.
struct Deployment {
    world: World,
    stranger: Uuid,
    cases: Vec<Case>,
}

impl Deployment {
    async fn new() -> Self {
        let world = World::new().await;
        let (organization, owner) = world.tenant("50").await;
        let operator = world.super_admin().await;
        let (stranger, _) = world.tenant("7").await;
        world
            .execute(
                "UPDATE organizations SET name = 'with ' || credit_balance;
                INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('n1', '127.0.0.1', 9)",
            )
            .await;
        let pending = world.agent(organization, "pending").await;
        let running = world.agent(organization, "running").await;
        let stopped = world.agent(organization, "stopped").await;
        world.backup(stopped, "auto").await;
        let user: Uuid = sqlx::query_scalar("SELECT id FROM users WHERE organization_id = $1")
            .bind(organization)
            .fetch_one(&world.pool)
            .await
            .expect("a user");
        let mut cases = Vec::new();
        let mut add = |key: &str, route: &'static str, id: &str, body: Value| {
            let (_, path) = route.split_once(' ').expect("a route");
            let parameters = ["{agentId}", "{nodeId}", "{organizationId}"];
            let path = parameters
                .iter()
                .fold(path.to_owned(), |path, name| path.replace(name, id));
            let key = key.to_owned();
            cases.push(Case {
                route,
                path,
                body,
                key,
            });
        };
        let (pending, running) = (pending.to_string(), running.to_string());
        let (stopped, organization) = (stopped.to_string(), organization.to_string());
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"text": "Hello"}});
        let amount = json!({"organizationId": organization, "amount": 1, "reason": "r"});
        // For routes without a parameter in their path.
        let none = "";
        for (route, id, body) in [
            (
                "POST /api/v1/milady/agents",
                none,
                json!({"agentName": "new"}),
            ),
            (
                "PATCH /api/v1/milady/agents/{agentId}",
                pending.as_str(),
                json!({"action": "suspend"}),
            ),
            (
                "POST /api/v1/milady/agents/{agentId}/restore",
                stopped.as_str(),
                json!({}),
            ),
            (
                "POST /api/v1/milady/agents/{agentId}/bridge",
                running.as_str(),
                message.clone(),
            ),
            (
                "POST /api/v1/milady/agents/{agentId}/stream",
                running.as_str(),
                message,
            ),
            ("POST /api/auth/pair", none, json!({"token": "x"})),
            ("PATCH /api/v1/settings", none, json!({"lowCreditMark": 3})),
            (
                "POST /api/v1/settings/webhook/test",
                none,
                json!({"kind": "slack"}),
            ),
            ("POST /api/v1/session", none, json!({"apiKey": owner})),
        ] {
            add(&owner, route, id, body);
        }
        for (route, id, body) in [
            ("POST /api/v1/admin/credits", none, amount.clone()),
            ("POST /api/v1/admin/credits/refund", none, amount),
            (
                "POST /api/v1/admin/credits/write-off",
                none,
                json!({"organizationId": organization, "reason": "r"}),
            ),
            (
                "PATCH /api/v1/admin/agents/{agentId}/billing",
                running.as_str(),
                json!({"hourlyRate": 0.5}),
            ),
            (
                "POST /api/v1/admin/docker-nodes",
                none,
                json!({"nodeId": "n2", "hostname": "no-such-host.invalid"}),
            ),
            (
                "POST /api/v1/admin/docker-nodes/probe",
                none,
                json!({"hostname": "no-such-host.invalid"}),
            ),
            (
                "POST /api/v1/admin/docker-nodes/{nodeId}/lost",
                "n1",
                json!({"nodeId": "n1"}),
            ),
            (
                "POST /api/v1/admin/docker-nodes/{nodeId}/drain",
                "n1",
                json!({"movesAtOnce": 3}),
            ),
            (
                "POST /api/v1/admin/image-roll-out",
                none,
                json!({"digest": format!("sha256:{}", "2".repeat(64)), "restartsAtOnce": 3}),
            ),
            (
                "PATCH /api/v1/admin/image-roll-out",
                none,
                json!({"paused": true}),
            ),
            (
                "PATCH /api/v1/admin/docker-nodes/{nodeId}",
                "n1",
                json!({"capacity": 5}),
            ),
            (
                "POST /api/v1/admin/infrastructure/containers/actions",
                none,
                json!({"action": "inspect", "nodeId": "gone", "containerName": format!("milady-{}", Uuid::nil())}),
            ),
            (
                "PATCH /api/v1/admin/organizations/{organizationId}/limits",
                organization.as_str(),
                json!({"activeStarts": 5}),
            ),
            (
                "POST /api/v1/admin/agents/{agentId}/suspend",
                running.as_str(),
                json!({"reason": "Its database fills the disk."}),
            ),
            (
                "POST /api/v1/admin/organizations",
                none,
                json!({"name": "New", "ownerEmail": "owner@new.example"}),
            ),
            (
                "POST /api/v1/admin/organizations/{organizationId}/users",
                organization.as_str(),
                json!({"email": "user@new.example", "role": "viewer"}),
            ),
            (
                "POST /api/v1/admin/organizations/{organizationId}/api-keys",
                organization.as_str(),
                json!({"userId": user, "name": "new", "permissions": ["read"]}),
            ),
        ] {
            add(&operator, route, id, body);
        }
        Self {
            world,
            stranger,
            cases,
        }
    }

    /// Sends the request with this index, with more members in its body. Returns its status and the state after it.
    async fn send(&self, index: usize, more: Map<String, Value>) -> (u64, Value) {
        let case = &self.cases[index];
        let (method, _) = case.route.split_once(' ').expect("a route");
        let mut body = case.body.clone();
        body.as_object_mut().expect("an object").extend(more);
        let request = Request::new(method, &case.path)
            .key(&case.key)
            .header("origin", ORIGIN)
            .header("idempotency-key", &format!("case-{index}"))
            .json(&body);
        let response = self.world.call(request).await;
        let state = sqlx::query_scalar(STATE)
            .fetch_one(&self.world.pool)
            .await
            .expect(STATE);
        (response.status(), state)
    }
}

/// Columns and rights, as this API, the tables and other APIs name them.
fn privileged(stranger: Uuid) -> Map<String, Value> {
    let names = json!({
        "id": Uuid::nil(), "success": true, "data": {"superAdmin": true},
        "organizationId": stranger, "organization_id": stranger, "userId": Uuid::nil(), "user_id": Uuid::nil(),
        "status": "running", "billingStatus": "exempt", "billing_status": "exempt", "exempt": true,
        "hourlyRate": 0, "hourly_rate": 0, "totalBilled": 0, "total_billed": 0, "amount": 1_000_000,
        "balance": 1_000_000, "creditBalance": 1_000_000, "credit_balance": 1_000_000,
        "role": "owner", "permissions": ["admin"], "admin": true, "isAdmin": true, "is_admin": true,
        "superAdmin": true, "super_admin": true, "walletVerified": true, "wallet_verified": true,
    });
    let figures = json!({
        "isActive": false, "is_active": false, "rateLimit": 1_000_000, "rate_limit": 1_000_000,
        "agents": 10_000, "activeStarts": 10_000, "active_starts": 10_000,
        "nodeId": "n1", "node_id": "n1", "containerName": "c", "container_name": "c", "bridgePort": 22,
        "bridge_port": 22, "sandboxId": "s", "sandbox_id": "s", "databaseUri": "postgres://x",
        "database_uri": "postgres://x", "allocatedCount": 0, "allocated_count": 0, "enabled": false,
        "capacity": 1_000, "createdAt": "2020-01-01T00:00:00Z", "created_at": "2020-01-01T00:00:00Z",
        "__proto__": {"superAdmin": true}, "constructor": {"prototype": {"superAdmin": true}},
    });
    let members = [names, figures].map(|members| match members {
        Value::Object(members) => members,
        other => panic!("{other}"),
    });
    members.into_iter().flatten().collect()
}

/// The members that the description of a route names.
fn described(document: &Value, route: &str) -> BTreeSet<String> {
    let (method, path) = route.split_once(' ').expect("a route");
    let body = &document["paths"][path][method.to_lowercase()]["requestBody"];
    let reference = &body["content"]["application/json"]["schema"]["$ref"];
    let name = reference.as_str().and_then(|path| path.rsplit('/').next());
    let schema = &document["components"]["schemas"][name.expect(route)];
    let members = schema["properties"].as_object().expect(route);
    members.keys().cloned().collect()
}

#[test]
fn unknown_and_privileged_members_of_every_body_are_ignored() {
    run(async {
        let document: Value = serde_json::from_str(DOCUMENT).expect("the description");
        let plain = Deployment::new().await;
        let extended = Deployment::new().await;
        let with_body = routes::all().filter(|route| route.body.is_some());
        let with_body: BTreeSet<String> = with_body
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        let cases = plain.cases.iter().map(|case| case.route.to_owned());
        assert_eq!(cases.collect::<BTreeSet<_>>(), with_body);
        for (index, case) in plain.cases.iter().enumerate() {
            let mut members = privileged(extended.stranger);
            let described = described(&document, case.route);
            members.retain(|name, _| !described.contains(name));
            let expected = plain.send(index, Map::new()).await;
            let actual = extended.send(index, members).await;
            assert_eq!(actual, expected, "{}", case.route);
            assert_ne!(actual.0, 400, "{}: the request itself is valid", case.route);
        }
    });
}
