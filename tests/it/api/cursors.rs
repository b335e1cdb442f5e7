//! Cursors whose times and numbers the database cannot store, on every list that reads such a cursor

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tests::calls::agent_path;
use tests::{World, run};
use uuid::Uuid;

#[test]
fn a_cursor_that_the_database_cannot_store_is_refused_by_every_list() {
    run(async {
        let world = World::new().await;
        let (organization, operator) = world.tenant("5").await;
        world.make_admin(organization, "super_admin").await;
        let agent = world.agent(organization, "stopped").await;
        let jobs = agent_path(agent, "/jobs");
        let users = format!("/api/v1/admin/organizations/{organization}/users");
        let transactions = "/api/v1/credits/transactions";
        let charges = format!("{transactions}/{}/charges", Uuid::nil());
        let of_agent = format!("{transactions}?agentId={agent}");
        let mut cases = Vec::new();
        // Chrono knows the years of these times; Postgres does not know the first two.
        for micros in [
            "-300000000000000000",
            "-8000000000000000000",
            "8000000000000000000",
        ] {
            let row = format!("{micros}.{agent}");
            for (list, cursor) in [
                ("/api/v1/milady/agents", row.clone()),
                (jobs.as_str(), row.clone()),
                (users.as_str(), row.clone()),
                ("/api/v1/admin/organizations", row.clone()),
                ("/api/v1/admin/docker-containers", row.clone()),
                ("/api/v1/admin/mails", row.clone()),
                (transactions, format!("h.-.{row}")),
                (of_agent.as_str(), format!("o.{row}")),
                (of_agent.as_str(), format!("c.{micros}.1")),
                (charges.as_str(), format!("l.{micros}.1.0.{agent}")),
                (charges.as_str(), format!("l.0.1.{micros}.{agent}")),
                ("/api/v1/credits/usage", format!("t.{micros}")),
            ] {
                cases.push((list.to_owned(), cursor));
            }
        }
        // One more than the largest number of an entry.
        let number = "9223372036854775808";
        for (list, cursor) in [
            ("/api/v1/admin/audit", number.to_owned()),
            ("/api/v1/admin/billing/runs", number.to_owned()),
            ("/api/v1/admin/billing/findings", format!("open.{number}")),
            ("/api/v1/notices", number.to_owned()),
            (transactions, format!("h.{number}.-")),
            (of_agent.as_str(), format!("c.0.{number}")),
        ] {
            cases.push((list.to_owned(), cursor));
        }
        for (list, cursor) in cases {
            let separator = if list.contains('?') { '&' } else { '?' };
            let encoded = URL_SAFE_NO_PAD.encode(&cursor);
            let path = format!("{list}{separator}cursor={encoded}");
            let answer = world.get(&operator, &path).await;
            assert_eq!(answer.status(), 400, "{list} {cursor} {answer:?}");
            let field = &answer.json()["details"][0]["field"];
            assert_eq!(*field, json!("cursor"), "{list} {cursor}");
        }
    });
}
