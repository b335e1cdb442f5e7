//! `GET /api/v1/credits/transactions/{transactionId}/charges`

use serde_json::{Value, json};
use tests::problem::{check_field_errors, check_problem};
use tests::run;
use uuid::Uuid;

use super::HISTORY;
use super::busy::{Busy, decimal, sum};

fn path(transaction: &Value) -> String {
    format!(
        "{HISTORY}/{}/charges",
        transaction["id"].as_str().expect("an id")
    )
}

#[test]
fn the_charges_of_each_transaction_are_in_charging_order_and_sum_to_its_amount() {
    run(async {
        let busy = Busy::new().await;
        let created: Vec<(Uuid, String)> =
            sqlx::query_as("SELECT DISTINCT agent_id, agent_created_at::text FROM usage_spans")
                .fetch_all(&busy.world.pool)
                .await
                .expect("agents");
        let age = |line: &Value| {
            let agent = created.iter().find(|(id, _)| line["agentId"] == json!(id));
            agent.expect("an agent").1.clone()
        };
        let mut lines_of_all = 0;
        for transaction in busy
            .walk(&format!("{HISTORY}?type=usage"), "/data", 200)
            .await
        {
            let page = busy.json(&path(&transaction)).await["data"].take();
            assert_eq!(page["transactionId"], transaction["id"]);
            assert_eq!(page["amount"], transaction["amount"]);
            let lines = page["lines"].as_array().expect("lines");
            assert_eq!(sum(lines, "amount"), -decimal(&transaction["amount"]));
            assert_eq!(decimal(&page["sum"]), -decimal(&transaction["amount"]));
            let order = |line: &Value| {
                let start = line["periodStart"].as_str().expect("a time").to_owned();
                let agent = line["agentId"].to_string();
                (start[..13].to_owned(), age(line), agent, start)
            };
            assert!(lines.is_sorted_by_key(order), "{lines:?}");
            lines_of_all += lines.len();
        }
        let charges = busy.world.count("SELECT count(*) FROM usage_charges").await;
        assert_eq!(i64::try_from(lines_of_all).expect("small"), charges);
    });
}

#[test]
fn a_walk_over_the_charges_gives_each_line_once_and_the_sum_at_the_end() {
    run(async {
        let busy = Busy::new().await;
        let transactions = busy
            .walk(&format!("{HISTORY}?type=usage"), "/data", 200)
            .await;
        let largest = transactions
            .iter()
            .min_by_key(|row| decimal(&row["amount"]))
            .expect("a row");
        let target = path(largest);
        let whole = busy.json(&target).await["data"]["lines"].take();
        let whole = whole.as_array().expect("lines");
        assert!(whole.len() > 10, "{}", whole.len());
        for limit in [1, 4, whole.len()] {
            assert_eq!(
                busy.walk(&target, "/data/lines", limit).await,
                *whole,
                "{limit}"
            );
        }
        let first = busy.json(&format!("{target}?limit=1")).await;
        assert_eq!(first["data"].get("sum"), None);
        assert_eq!(
            busy.walk_csv(&format!("{target}?limit=4")).await.len(),
            whole.len()
        );
    });
}

#[test]
fn a_transaction_that_is_no_usage_has_no_charges() {
    run(async {
        let busy = Busy::new().await;
        sqlx::query(
            "INSERT INTO ledger_entries (organization_id, created_at, type, amount, balance_before, balance_after)
            VALUES ($1, billing_clock(), 'grant', 2, 1, 3)",
        )
        .bind(busy.organization)
        .execute(&busy.world.pool)
        .await
        .expect("an entry");
        let grant = busy.json(&format!("{HISTORY}?type=grant")).await["data"][0].take();
        let data = busy.json(&path(&grant)).await["data"].take();
        assert_eq!(
            data,
            json!({"transactionId": grant["id"], "amount": 2.0, "lines": [], "sum": 0.0})
        );
    });
}

#[test]
fn transactions_that_are_unknown_or_not_the_callers_are_not_found() {
    run(async {
        let busy = Busy::new().await;
        let usage = busy.json(&format!("{HISTORY}?type=usage&limit=1")).await["data"][0].take();
        let (_, foreign_key) = busy.world.tenant("10").await;
        let foreign = busy.world.get(&foreign_key, &path(&usage)).await;
        check_problem(&foreign, 404, "Transaction not found");
        let other = busy.json(&format!("{HISTORY}?type=debit&limit=1")).await["data"][0].take();
        let agent = format!("{HISTORY}?agentId={}&limit=1", busy.running);
        let charge = busy.json(&agent).await["data"][0].take();
        let id = usage["id"].as_str().expect("an id");
        let unknown = json!({"id": format!("{}ffff", &id[..32])});
        for transaction in [
            other,
            charge,
            unknown,
            json!({"id": Uuid::nil()}),
            json!({"id": Uuid::new_v4()}),
        ] {
            check_problem(
                &busy.get(&path(&transaction)).await,
                404,
                "Transaction not found",
            );
        }
    });
}

#[test]
fn an_identifier_that_is_no_uuid_and_a_bad_cursor_are_refused() {
    run(async {
        let busy = Busy::new().await;
        for id in ["x", "1", "%27"] {
            let response = busy.get(&format!("{HISTORY}/{id}/charges")).await;
            let message = "must be a UUID";
            check_field_errors(
                &response,
                &format!("transactionId {message}"),
                &[("transactionId", message)],
            );
        }
        let usage = busy.json(&format!("{HISTORY}?type=usage&limit=1")).await["data"][0].take();
        for query in ["cursor=AAAA", "limit=0", "limit=201"] {
            assert_eq!(
                busy.get(&format!("{}?{query}", path(&usage)))
                    .await
                    .status(),
                400,
                "{query}"
            );
        }
        assert_eq!(
            busy.world
                .call(tests::suite::Request::new("GET", &path(&usage)))
                .await
                .status(),
            401
        );
    });
}

#[test]
fn charges_that_were_dropped_are_said_to_be_gone() {
    run(async {
        let busy = Busy::new().await;
        let usage = busy.json(&format!("{HISTORY}?type=usage&limit=1")).await["data"][0].take();
        busy.world
            .execute("DROP TABLE usage_charges_2026_03, usage_charges_default")
            .await;
        let response = busy.get(&path(&usage)).await;
        check_problem(
            &response,
            404,
            "The charges of this transaction are no longer kept",
        );
        // The list of an agent ends with what is kept.
        let rows = busy
            .walk(&format!("{HISTORY}?agentId={}", busy.running), "/data", 200)
            .await;
        assert_eq!(rows.len(), 9);
    });
}
