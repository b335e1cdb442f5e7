//! Measures the lists of credit: pages at random places in a year of a ten-agent organization, beside 60 others.
//!
//! The use cases are called in this process, as the role of the functions, over one connection to a Postgres on the same
//! machine: a page's time is that of its statements and of decoding its rows. `history.sql` makes the rows. The benchmark
//! only prints; it asserts no times.

#![expect(
    clippy::expect_used,
    reason = "a failing benchmark should panic where it fails"
)]

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use shared::app::credit::history::{agent_history_page, history_page};
use shared::app::credit::usage::usage;
use shared::db::Database;
use shared::db::billing::history::charges::{ChargedEntry, charges_of_entry, charges_sum};
use shared::db::billing::history::entries::Selection;
use shared::db::billing::history::series::{balance_by_day, balance_by_hour};
use shared::db::billing::history::usage::{UsageFilter, UsageGroup};
use shared::domain::history::{AgentPosition, ChargeKey, HistoryPosition, OtherPosition, Period};
use shared::domain::ids::{AgentId, AgentRef, OrganizationId, SpanId, TransactionId};
use tests::{World, run};
use uuid::Uuid;

const PAGES: u64 = 500;
/// One more than a page of 200 shows.
const ROWS: i64 = 201;

fn main() {
    run(async {
        let world = World::new().await;
        let begun = Instant::now();
        for sql in [include_str!("history.sql"), "VACUUM ANALYZE"] {
            sqlx::raw_sql(sql)
                .execute(&world.pool)
                .await
                .expect("the rows");
        }
        println!(
            "The rows took {:.0} s. Times in milliseconds.",
            begun.elapsed().as_secs_f64()
        );
        println!(
            "{:>46} {:>7} {:>7} {:>7} {:>7} {:>7}",
            "page", "p50", "p95", "p99", "max", "rows"
        );
        measure_all(&world).await;
    });
}

/// An entry's number, when it was written, and its period.
type EntryRow = (i64, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>);

async fn measure_all(world: &World) {
    let pool = &world.database;
    let organization_id = OrganizationId::new(Uuid::from_u128(0x4000_8000_0000_0000_0005));
    let entries: Vec<EntryRow> = sqlx::query_as(
        "SELECT seq, created_at, period_start, period_end FROM cloud.ledger_entries WHERE organization_id = $1 ORDER BY seq",
    )
    .bind(organization_id.uuid())
    .fetch_all(&world.pool)
    .await
    .expect("entries");
    let pick = |page: u64| {
        // Spread evenly, in no order.
        let index = (page * 7_919) % u64::try_from(entries.len()).expect("small");
        entries[usize::try_from(index).expect("small")]
    };
    let all = Selection {
        row_type: None,
        period: Period::ever(),
    };
    measure("200 transactions", async |page| {
        let (seq, created_at, ..) = pick(page);
        let id = TransactionId::new(Uuid::max());
        let from = HistoryPosition {
            entry: Some(seq),
            other: Some(OtherPosition { created_at, id }),
        };
        history_page(pool, organization_id, all, from, ROWS)
            .await
            .expect("rows")
            .len()
    })
    .await;
    let grants = Selection {
        row_type: Some("grant"),
        ..all
    };
    measure("200 transactions of a rare type", async |_| {
        let from = HistoryPosition::newest();
        history_page(pool, organization_id, grants, from, ROWS)
            .await
            .expect("rows")
            .len()
    })
    .await;
    for (name, agent) in [
        ("200 charges of an agent that always ran", 1),
        ("200 charges of an agent, minutes at a time", 7),
        ("200 charges of an agent, first week only", 8),
        ("200 charges of an agent, six hours a day", 9),
        ("200 charges of an agent, twice a month", 10),
    ] {
        let agent = agent_ref(organization_id, agent);
        measure(name, async |page| {
            let from = AgentPosition::Charge(ChargeKey {
                period_start: pick(page).1,
                span: SpanId::new(i64::MAX),
            });
            agent_history_page(pool, agent, all, from, ROWS)
                .await
                .expect("rows")
                .len()
        })
        .await;
    }
    measure("the charges of a transaction", async |page| {
        let (seq, _, from, to) = pick(page);
        let entry = ChargedEntry {
            organization_id,
            seq,
            period: Period { from, to },
        };
        let mut conn = pool.statements();
        charges_sum(&mut conn, entry).await.expect("a sum");
        charges_of_entry(&mut conn, entry, None, ROWS)
            .await
            .expect("charges")
            .len()
    })
    .await;
    measure_reports(pool, organization_id).await;
}

async fn measure_reports(pool: &Database, organization_id: OrganizationId) {
    let end: DateTime<Utc> = "2026-12-01T00:00:00Z".parse().expect("a time");
    let last = |days: i64| Period {
        from: end - TimeDelta::days(days),
        to: end,
    };
    let agent_id = agent_ref(organization_id, 1).agent_id;
    for (name, group, days, agent_id) in [
        ("usage of 30 days by day", UsageGroup::Day, 30, None),
        ("usage of 400 days by day", UsageGroup::Day, 400, None),
        (
            "usage of 400 days by day, one agent",
            UsageGroup::Day,
            400,
            Some(agent_id),
        ),
        ("usage of 400 days by agent", UsageGroup::Agent, 400, None),
        ("usage of a day by hour", UsageGroup::Hour, 1, None),
        ("usage of 31 days by hour", UsageGroup::Hour, 31, None),
        (
            "usage of 31 days by hour, one agent",
            UsageGroup::Hour,
            31,
            Some(agent_id),
        ),
    ] {
        let filter = UsageFilter {
            organization_id,
            period: last(days),
            agent_id,
        };
        measure(name, async |_| {
            usage(pool, filter, group, None, 1_001)
                .await
                .expect("rows")
                .len()
        })
        .await;
    }
    measure("series of 400 days", async |_| {
        let mut conn = pool.statements();
        let history = balance_by_day(&mut conn, organization_id, last(400)).await;
        history.expect("rows").expect("a history").changes.len()
    })
    .await;
    measure("series of 31 days by hour", async |_| {
        let mut conn = pool.statements();
        let history = balance_by_hour(&mut conn, organization_id, last(31)).await;
        history.expect("rows").expect("a history").changes.len()
    })
    .await;
}

fn agent_ref(organization_id: OrganizationId, number: u128) -> AgentRef {
    let id = 0x4000_9000_0000_0000_0005 | number << 48;
    AgentRef {
        organization_id,
        agent_id: AgentId::new(Uuid::from_u128(id)),
    }
}

/// Reads pages and prints how long they took and how many rows they had on average.
async fn measure(name: &str, read: impl AsyncFn(u64) -> usize) {
    let mut times = Vec::new();
    let mut rows = 0;
    // The first page also opens the connection.
    read(0).await;
    for page in 1..=PAGES {
        let begun = Instant::now();
        rows += read(page).await;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let rows = rows / usize::try_from(PAGES).expect("small");
    println!(
        "{name:>46} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {rows:>7}",
        at(50),
        at(95),
        at(99),
        at(100)
    );
}
