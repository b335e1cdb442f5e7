//! `GET /api/v1/admin/organizations`

use serde_json::{Value, json};
use tests::suite::Request;
use tests::{World, run};

const ORGANIZATIONS: &str = "/api/v1/admin/organizations";

fn names(page: &Value) -> Vec<&str> {
    let rows = page["data"].as_array().expect("organizations");
    rows.iter()
        .map(|row| row["name"].as_str().expect("a name"))
        .collect()
}

#[test]
fn organization_is_listed_with_its_credit_and_its_agents() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("0.01").await;
        world.agent(organization, "running").await;
        world.agent(organization, "pending").await;
        world.run_billing(2).await;
        world
            .execute("UPDATE organizations SET created_at = '2026-02-01T10:20:30Z', is_active = false WHERE credit_balance > 0 OR id IN (SELECT organization_id FROM milady_sandboxes)")
            .await;
        let page = world
            .get(&key, &format!("{ORGANIZATIONS}?q={organization}"))
            .await
            .json();
        let owner = world.key(organization).await;
        world
            .execute("UPDATE organizations SET is_active = true")
            .await;
        let credit = world.get(&owner, "/api/v1/credits/balance").await.json();
        let owed = &credit["data"]["owed"];
        assert_ne!(owed, &json!(0.0));
        assert_eq!(
            page["data"],
            json!([{
                "id": organization, "name": "Test", "balance": credit["balance"], "owed": owed,
                "agents": 2, "active": false, "createdAt": "2026-02-01T10:20:30.000Z",
            }])
        );
    });
}

#[test]
fn organizations_are_found_by_a_part_of_their_names_in_pages() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        world
            .execute(
                "INSERT INTO organizations (name, slug, created_at)
                SELECT name, name, timestamp '2026-01-01' + n / 2 * interval '1 hour'
                FROM unnest(ARRAY['Acme One', 'acme two', 'ACME 100%', 'Other', 'Acme_x'])
                    WITH ORDINALITY AS t (name, n)",
            )
            .await;
        for (query, expected) in [
            ("acme", vec!["ACME 100%", "Acme One", "Acme_x", "acme two"]),
            ("100%25", vec!["ACME 100%"]),
            ("e_", vec!["Acme_x"]),
            ("nobody", vec![]),
        ] {
            let (mut listed, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("{ORGANIZATIONS}?limit=1&q={query}{cursor}");
                let page = world.get(&key, &path).await.json();
                listed.extend(names(&page).into_iter().map(str::to_owned));
                let Some(next) = page["nextCursor"].as_str() else {
                    break;
                };
                cursor = format!("&cursor={next}");
            }
            listed.sort();
            assert_eq!(listed, expected, "{query}");
        }
        let all = world.get(&key, ORGANIZATIONS).await.json();
        assert_eq!(names(&all).len(), 6);
        for query in ["q=", "q=%00", "limit=0", "cursor=x"] {
            let refused = world.get(&key, &format!("{ORGANIZATIONS}?{query}")).await;
            assert_eq!(refused.status(), 400, "{query}");
        }
    });
}

#[test]
fn only_super_admins_see_organizations() {
    run(async {
        let world = World::new().await;
        let (_, owner) = world.tenant("0").await;
        let (moderators, moderator) = world.tenant("0").await;
        world.make_admin(moderators, "moderator").await;
        let request = Request::new("GET", ORGANIZATIONS);
        assert_eq!(world.call(request).await.status(), 401);
        for key in [owner, moderator] {
            assert_eq!(world.get(&key, ORGANIZATIONS).await.status(), 403);
        }
    });
}
