//! `GET /api/v1/credits/transactions`

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::db::billing::history::entries::Selection;
use shared::db::billing::history::others::others_of_agent;
use shared::domain::history::{OtherPosition, Period};
use shared::domain::ids::{AgentId, AgentRef, OrganizationId};
use sqlx::AssertSqlSafe;
use tests::problem::check_field_errors;
use tests::world::minutes;
use tests::{World, run};
use uuid::Uuid;

use super::busy::{Busy, LAST_HOUR, decimal, state_day, sum};
use super::{HISTORY, get};

fn ids(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().map(|row| row["id"].to_string()).collect()
}

#[test]
fn a_row_of_usage_counts_its_agents_and_its_charges_explain_it() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let first = world.agent(organization, "running").await;
        let second = world.agent(organization, "stopped").await;
        world.run_billing(2).await;
        let mut rows = world.get(&key, HISTORY).await.json();
        let id = rows["data"][0]["id"].take();
        assert_eq!(
            rows["data"],
            json!([{
                "id": null, "amount": -0.045, "type": "usage", "description": "Usage of 2 agents",
                "agents": 2, "agentId": null, "kind": null, "hourlyRate": null, "seconds": null,
                "periodStart": "2026-03-01T00:00:00.000Z", "periodEnd": "2026-03-01T02:00:00.000Z",
                "balanceBefore": 10.0, "balanceAfter": 9.955, "createdAt": "2026-03-01T02:00:00.000Z",
            }])
        );
        let id = id.as_str().expect("an id");
        let charges = world
            .get(&key, &format!("{HISTORY}/{id}/charges"))
            .await
            .json();
        let line = |agent: Uuid, kind: &str, rate: f64, amount: f64, hour: u8| {
            json!({"agentId": agent, "agentName": "agent", "kind": kind, "hourlyRate": rate,
                "periodStart": format!("2026-03-01T0{hour}:00:00.000Z"),
                "periodEnd": format!("2026-03-01T0{}:00:00.000Z", hour + 1), "seconds": 3600.0, "amount": amount})
        };
        let mut agents = [
            (first, "running", 0.02, 0.02),
            (second, "idle", 0.0025, 0.0025),
        ];
        // Both were created at the same time.
        agents.sort_by_key(|agent| agent.0);
        let lines: Vec<Value> = (0..2)
            .flat_map(|hour| {
                agents.map(|(agent, kind, rate, amount)| line(agent, kind, rate, amount, hour))
            })
            .collect();
        assert_eq!(
            charges,
            json!({"success": true, "data": {"transactionId": id, "amount": -0.045, "lines": lines, "sum": 0.045}})
        );
    });
}

#[test]
fn a_walk_with_any_limit_gives_each_row_once_with_and_without_an_agent() {
    run(async {
        let busy = Busy::new().await;
        let entries = busy
            .world
            .count("SELECT count(*) FROM ledger_entries")
            .await;
        let others = busy
            .world
            .count("SELECT count(*) FROM credit_transactions WHERE seq IS NULL")
            .await;
        let whole = busy.walk(HISTORY, "/data", 200).await;
        assert_eq!(i64::try_from(whole.len()).expect("small"), entries + others);
        assert_eq!(ids(&whole).len(), whole.len());
        assert!(whole.is_sorted_by_key(|row| std::cmp::Reverse(row["createdAt"].to_string())));
        for (agent, charges, older) in [
            (busy.running, 28, 9),
            (busy.stored, 28, 2),
            (busy.flipping, 0, 0),
            (busy.deleted, 3, 0),
            (Uuid::from_u128(7), 0, 0),
        ] {
            let target = format!("{HISTORY}?agentId={agent}");
            let whole = busy.walk(&target, "/data", 200).await;
            let paid = sqlx::query_scalar::<_, i64>(
                "SELECT count(*) FROM usage_charges c JOIN usage_spans s ON s.id = c.span WHERE s.agent_id = $1",
            )
            .bind(agent)
            .fetch_one(&busy.world.pool)
            .await
            .expect("a count");
            let is_charge = |row: &&Value| row["type"] == "usage";
            assert_eq!(
                whole.iter().filter(is_charge).count(),
                usize::try_from(paid).expect("small")
            );
            if agent != busy.flipping {
                assert_eq!(
                    (paid, whole.len()),
                    (charges, usize::try_from(charges + older).expect("small"))
                );
            }
            assert_eq!(ids(&whole).len(), whole.len());
            assert!(whole.iter().all(|row| row["agentId"] == json!(agent)));
            for limit in [1, 2, 5, 27, 28, 29] {
                assert_eq!(
                    busy.walk(&target, "/data", limit).await,
                    whole,
                    "{agent} {limit}"
                );
            }
        }
        for limit in [1, 3, 7] {
            assert_eq!(busy.walk(HISTORY, "/data", limit).await, whole, "{limit}");
        }
    });
}

#[test]
fn charges_of_agents_name_their_transactions_and_add_up_to_them() {
    run(async {
        let busy = Busy::new().await;
        let transactions = busy
            .walk(&format!("{HISTORY}?type=usage"), "/data", 200)
            .await;
        let mut charges = Vec::new();
        for agent in [busy.running, busy.stored, busy.flipping, busy.deleted] {
            let target = format!("{HISTORY}?agentId={agent}&type=usage");
            charges.extend(busy.walk(&target, "/data", 200).await);
        }
        for transaction in &transactions {
            let of_transaction = |charge: &&Value| charge["transactionId"] == transaction["id"];
            let parts: Vec<Value> = charges.iter().filter(of_transaction).cloned().collect();
            assert!(!parts.is_empty());
            assert_eq!(sum(&parts, "amount"), decimal(&transaction["amount"]));
            assert!(
                parts
                    .iter()
                    .all(|charge| charge["createdAt"] == transaction["createdAt"])
            );
            assert!(
                parts
                    .iter()
                    .all(|charge| charge["balanceAfter"].is_null() && charge["agents"].is_null())
            );
        }
        assert_eq!(sum(&charges, "amount"), sum(&transactions, "amount"));
        // Hours 5 to 18 were paid late.
        let late = charges.iter().filter(|charge| {
            let hour = |member: &str| charge[member].as_str().expect("a time")[..13].to_owned();
            hour("createdAt") > hour("periodEnd")
        });
        assert!(late.count() > 10);
    });
}

#[test]
fn a_charge_of_an_agent_has_its_price_and_its_seconds() {
    run(async {
        let busy = Busy::new().await;
        let target = format!(
            "{HISTORY}?agentId={}&from=2026-03-01T02:00:00Z&to=2026-03-01T03:00:00Z",
            busy.deleted
        );
        let mut rows = busy.json(&target).await["data"].take();
        let row = &mut rows[0];
        assert_ne!(row["id"].take(), row["transactionId"].take());
        assert_eq!(
            rows,
            json!([{
                "id": null, "transactionId": null, "amount": -0.01, "type": "usage",
                "description": "Milady agent hosting (running): agent", "agents": null,
                "agentId": busy.deleted, "kind": "running", "hourlyRate": 0.02, "seconds": 1800.0,
                "periodStart": "2026-03-01T02:00:00.000Z", "periodEnd": "2026-03-01T02:30:00.000Z",
                "balanceBefore": null, "balanceAfter": null, "createdAt": "2026-03-01T03:00:00.000Z",
            }])
        );
    });
}

#[test]
fn rows_of_an_older_biller_and_of_other_applications_are_shown_as_they_are() {
    run(async {
        let busy = Busy::new().await;
        let mut debit = busy.json(&format!("{HISTORY}?type=debit&limit=1")).await["data"][0].take();
        debit["id"] = json!("id");
        assert_eq!(
            debit,
            json!({
                "id": "id", "amount": -0.02, "type": "debit", "description": "Milady agent", "periodStart": null,
                "periodEnd": null, "agents": null, "agentId": busy.running, "kind": "running", "hourlyRate": 0.02,
                "seconds": null, "balanceBefore": null, "balanceAfter": null,
                "createdAt": "2026-02-28T23:00:00.000Z",
            })
        );
        let idle = busy
            .walk(
                &format!("{HISTORY}?agentId={}&type=debit", busy.stored),
                "/data",
                1,
            )
            .await;
        assert_eq!(idle.len(), 2);
        assert_eq!(
            (&idle[0]["kind"], &idle[0]["hourlyRate"]),
            (&json!("idle"), &json!(0.0025))
        );
        assert_eq!(idle[0]["transactionId"], Value::Null);
        // Metadata that make no sense are ignored.
        let odd = busy
            .walk(&format!("{HISTORY}?type=credit&to=2026-03-01"), "/data", 3)
            .await;
        assert_eq!(odd.len(), 7);
        for row in odd {
            for member in ["agentId", "kind", "hourlyRate"] {
                assert_eq!(row[member], Value::Null, "{row}");
            }
        }
    });
}

#[test]
fn filters_by_type_and_time_leave_the_matching_rows() {
    run(async {
        let busy = Busy::new().await;
        let whole = busy.walk(HISTORY, "/data", 200).await;
        for row_type in ["usage", "credit", "debit", "grant", "no such type"] {
            let is_in = |row: &&Value| row["type"] == row_type;
            let expected: Vec<Value> = whole.iter().filter(is_in).cloned().collect();
            let target = format!("{HISTORY}?type={}", row_type.replace(' ', "%20"));
            assert_eq!(busy.walk(&target, "/data", 3).await, expected, "{target}");
        }
        for (from, to) in [
            ("2026-03-01T02:00:00Z", "2026-03-01T05:00:00Z"),
            ("2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z"),
            ("2026-02-28", "2026-03-01"),
        ] {
            let is_in = |row: &&Value| {
                let created_at = row["createdAt"].as_str().expect("a time");
                from.trim_end_matches('Z') <= created_at && created_at < to.trim_end_matches('Z')
            };
            let expected: Vec<Value> = whole.iter().filter(is_in).cloned().collect();
            assert!(!expected.is_empty());
            let target = format!("{HISTORY}?from={from}&to={to}");
            assert_eq!(busy.walk(&target, "/data", 3).await, expected, "{target}");
        }
    });
}

#[test]
fn rows_that_are_written_between_two_pages_change_none_that_follow() {
    run(async {
        let busy = Busy::new().await;
        let targets = [
            HISTORY.to_owned(),
            format!("{HISTORY}?agentId={}", busy.running),
        ];
        let mut open = Vec::new();
        for target in &targets {
            let separator = if target.contains('?') { '&' } else { '?' };
            let target = format!("{target}{separator}limit=4");
            let whole = busy.walk(&target[..target.len() - 8], "/data", 200).await;
            let first = busy.json(&target).await;
            open.push((target, whole, first));
        }
        busy.world.set_clock(minutes(60 * LAST_HOUR + 30)).await;
        busy.world.top_up(busy.organization, "1").await;
        busy.world.run_billing(LAST_HOUR + 1).await;
        for (target, whole, first) in open {
            let mut rows = first["data"].as_array().expect("rows").clone();
            let cursor = first["nextCursor"].as_str().expect("a cursor");
            let mut next = Some(cursor.to_owned());
            while let Some(cursor) = next {
                let page = busy.json(&format!("{target}&cursor={cursor}")).await;
                rows.extend(page["data"].as_array().expect("rows").clone());
                next = page["nextCursor"].as_str().map(str::to_owned);
            }
            assert_eq!(rows, whole, "{target}");
        }
    });
}

#[test]
fn time_that_was_written_off_has_no_charges_and_ends_no_list() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("0.05").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(3).await;
        // Two hours were charged; a year later everything but the last 90 days is written off.
        let later = 24 * 365;
        world.run_billing(later).await;
        world.top_up(organization, "0.1").await;
        world.run_billing(later + 1).await;
        let whole = world
            .get(&key, &format!("{HISTORY}?agentId={agent}"))
            .await
            .json();
        let rows = whole["data"].as_array().expect("rows").clone();
        let types: BTreeSet<String> = rows.iter().map(|row| row["type"].to_string()).collect();
        assert_eq!((rows.len(), types.len()), (7, 1), "{rows:?}");
        let one = world
            .get(&key, &format!("{HISTORY}?agentId={agent}&limit=5"))
            .await
            .json();
        let cursor = one["nextCursor"].as_str().expect("a cursor");
        let rest = world
            .get(
                &key,
                &format!("{HISTORY}?agentId={agent}&limit=5&cursor={cursor}"),
            )
            .await
            .json();
        assert_eq!(
            rest["data"].as_array().expect("rows").as_slice(),
            &rows[5..]
        );
        let off = world
            .get(&key, &format!("{HISTORY}?type=write_off"))
            .await
            .json();
        assert_eq!(
            off["data"][0]["description"],
            json!("not paid within 90 days")
        );
    });
}

#[test]
fn invalid_filters_are_named() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("10").await;
        let time = "must be a time like 2026-11-01T00:00:00Z or a day like 2026-11-01";
        for (query, field, message) in [
            ("from=yesterday", "from", time),
            ("to=2026-13-01", "to", time),
            (
                "from=2026-03-02&to=2026-03-02",
                "from",
                "must be before `to`",
            ),
            (
                "type=%20",
                "type",
                "must be 1 to 100 characters without control characters",
            ),
            (
                "type=a%00b",
                "type",
                "must be 1 to 100 characters without control characters",
            ),
            (
                "cursor=aC4xLjIuMw",
                "cursor",
                "is not valid; start again without it",
            ),
        ] {
            let response = world.get(&key, &format!("{HISTORY}?{query}")).await;
            check_field_errors(
                &response,
                &format!("{field} {message}"),
                &[(field, message)],
            );
        }
    });
}

#[test]
fn a_cursor_of_one_list_is_refused_by_another() {
    run(async {
        let busy = Busy::new().await;
        let of_agent = format!("{HISTORY}?agentId={}&limit=1", busy.running);
        let all = format!("{HISTORY}?limit=1");
        for (target, other) in [(&of_agent, &all), (&all, &of_agent)] {
            let page = busy.json(target).await;
            let cursor = page["nextCursor"].as_str().expect("a cursor");
            assert_eq!(
                busy.get(&format!("{other}&cursor={cursor}")).await.status(),
                400
            );
        }
    });
}

#[test]
fn the_daily_debits_for_the_older_application_are_not_listed() {
    run(async {
        let busy = Busy::new().await;
        let targets = [
            HISTORY.to_owned(),
            format!("{HISTORY}?agentId={}", busy.running),
        ];
        let before = [
            busy.walk(&targets[0], "/data", 200).await,
            busy.walk(&targets[1], "/data", 200).await,
        ];
        state_day(&busy, "2026-03-02").await;
        let debits = "SELECT count(*) FROM credit_transactions WHERE seq = 0";
        assert!(busy.world.count(debits).await > 0);
        for (target, rows) in targets.iter().zip(before) {
            assert_eq!(busy.walk(target, "/data", 200).await, rows);
        }
    });
}

#[test]
fn charges_that_were_paid_days_later_name_the_transaction_that_paid_them() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("100").await;
        let agent = world.agent(organization, "running").await;
        let key = world.key(organization).await;
        world.run_billing(1).await;
        // No run for three days: the oldest of the second run's charges are older than a day, the newest are not.
        world.run_billing(73).await;
        let list = async |target: &str| {
            let response = get(&world, target, Some(&key)).await;
            assert_eq!(response.status(), 200, "{}", response.text());
            let rows = response.json()["data"].take();
            rows.as_array().expect("rows").clone()
        };
        let transactions = list(&format!("{HISTORY}?type=usage")).await;
        assert_eq!(transactions.len(), 2);
        let charges = list(&format!("{HISTORY}?agentId={agent}")).await;
        assert_eq!(charges.len(), 73);
        for (hour, charge) in charges.iter().rev().enumerate() {
            let paid_by = usize::from(hour == 0);
            assert_eq!(
                charge["transactionId"], transactions[paid_by]["id"],
                "{charge}"
            );
            assert_eq!(
                charge["createdAt"], transactions[paid_by]["createdAt"],
                "{charge}"
            );
        }
    });
}

#[test]
fn a_page_of_an_older_billers_rows_reads_only_its_own() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let sql = format!(
            "INSERT INTO credit_transactions (organization_id, amount, type, metadata, created_at)
            SELECT '{organization}', -0.02, 'debit', jsonb_build_object('sandbox_id', lpad(n::text, 32, '0')::uuid), at
            FROM generate_series(1, 5) AS n, generate_series('2025-01-01'::timestamp, '2025-03-31', '1 hour') AS at;
            ANALYZE credit_transactions"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&world.pool)
            .await
            .expect("rows");
        let agent = AgentRef {
            organization_id: OrganizationId::new(organization),
            agent_id: AgentId::new(Uuid::from_u128(1)),
        };
        let all = Selection {
            row_type: None,
            period: Period::ever(),
        };
        let mut tx = world.database.begin().await.expect("begin");
        let page = others_of_agent(&mut tx, agent, all, OtherPosition::newest(), 10)
            .await
            .expect("a page");
        assert_eq!(page.len(), 10);
        // What an index scan reads is counted for the index alone.
        let read: i64 = sqlx::query_scalar(
            "SELECT sum(pg_stat_get_xact_tuples_fetched(oid) + pg_stat_get_xact_tuples_returned(oid))::bigint
            FROM pg_class WHERE oid = 'public.credit_transactions'::regclass
                OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'public.credit_transactions'::regclass)",
        )
        .fetch_one(&mut *tx)
        .await
        .expect("a count");
        tx.commit().await.expect("commit");
        assert!(read < 100, "{read} rows were read");
    });
}
