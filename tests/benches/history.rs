//! Measures the lists of credit: pages at random places in a year of a ten-agent organization, beside 60 others.
//!
//! The use cases are called in this process, on one thread and as the role of the functions, over one connection to a
//! Postgres on the same machine: a page's time is that of its statements and of decoding its rows. `history.sql` makes
//! the rows. After each page a statement that reads nothing is measured: what else the machine does slows both down. The
//! slowest page is read again: if it is fast then, the page was not the reason. The benchmark only prints; it asserts no
//! times.

#![expect(
    clippy::expect_used,
    reason = "a failing benchmark should panic where it fails"
)]

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use shared::app::credit::history::{agent_history_page, history_page};
use shared::app::credit::usage::usage;
use shared::db::billing::history::charges::{ChargedEntry, charges_of_entry, charges_sum};
use shared::db::billing::history::entries::{Selection, entry_find};
use shared::db::billing::history::series::{balance_by_day, balance_by_hour};
use shared::db::billing::history::usage::{UsageFilter, UsageGroup};
use shared::db::{Database, Workload};
use shared::domain::history::{AgentPosition, ChargeKey, HistoryPosition, OtherPosition, Period};
use shared::domain::ids::{
    AgentId, AgentRef, LedgerPosition, OrganizationId, SpanId, TransactionId,
};
use tests::{World, suite};
use tokio::runtime::Builder;
use uuid::Uuid;

/// Pages of each kind that are measured.
const PAGES: u64 = 2_000;
/// Pages of each kind that are read before and not measured: the first statements of a connection read the server's
/// catalog.
const WARM_UP_PAGES: u64 = 50;
/// How often the slowest page of a kind is read again.
const REPETITIONS: u64 = 21;
/// One more than a page of 200 shows.
const ROWS: i64 = 201;

fn main() {
    suite::run_benchmark(async {
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
            "{PAGES} pages of each kind after {WARM_UP_PAGES} to warm up; beside each, a statement that reads nothing."
        );
        println!(
            "{:>46} {:>7} {:>7} {:>7} {:>7} {:>7} | {:>7} {:>7} | slowest page, and its median when read again",
            "page", "p50", "p95", "p99", "max", "rows", "nothing", "p99"
        );
        let entries: Vec<EntryRow> = sqlx::query_as(
            "SELECT seq, created_at, period_start, period_end FROM cloud.ledger_entries WHERE organization_id = $1 ORDER BY seq",
        )
        .bind(organization().uuid())
        .fetch_all(&world.pool)
        .await
        .expect("entries");
        // On one thread, as a function runs: of several, the one that waits for the server would have to wake another.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("a runtime");
                runtime.block_on(measure_all(&world.url, entries));
            });
        });
    });
}

fn organization() -> OrganizationId {
    OrganizationId::new(Uuid::from_u128(0x4000_8000_0000_0000_0005))
}

/// An entry's number, when it was written, and its period.
type EntryRow = (i64, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>);

async fn measure_all(url: &str, entries: Vec<EntryRow>) {
    let options = suite::runtime_url(url).parse().expect("a URL");
    let pool = &Database::new(options, Workload::Requests);
    let organization_id = organization();
    let lists = Lists {
        pool,
        organization_id,
        entries,
    };
    lists.measure_organization().await;
    lists.measure_older_biller().await;
    lists.measure_agents().await;
    lists.measure_charges().await;
    measure_reports(pool, organization_id).await;
}

/// Which pages of an organization's lists are measured.
struct Lists<'a> {
    pool: &'a Database,
    organization_id: OrganizationId,
    entries: Vec<EntryRow>,
}

impl Lists<'_> {
    /// Spread evenly, in no order.
    fn pick(&self, page: u64) -> EntryRow {
        let index = (page * 7_919) % u64::try_from(self.entries.len()).expect("small");
        self.entries[usize::try_from(index).expect("small")]
    }

    fn begins(&self, page: u64) -> String {
        self.pick(page).1.to_rfc3339()
    }

    async fn measure_organization(&self) {
        let (pool, organization_id) = (self.pool, self.organization_id);
        let begins = |page| self.begins(page);
        measure(pool, "200 transactions", begins, async |page| {
            let (seq, created_at, ..) = self.pick(page);
            let from = HistoryPosition {
                entry: Some(seq),
                other: Some(last_of(created_at)),
            };
            history_page(pool, organization_id, all(), from, ROWS)
                .await
                .expect("rows")
                .len()
        })
        .await;
        let grants = Selection {
            row_type: Some("grant"),
            ..all()
        };
        let name = "200 transactions of a rare type";
        measure(pool, name, always, async |_| {
            let from = HistoryPosition::newest();
            history_page(pool, organization_id, grants, from, ROWS)
                .await
                .expect("rows")
                .len()
        })
        .await;
    }

    /// What it wrote ends where the charges begin.
    async fn measure_older_biller(&self) {
        let (pool, organization_id) = (self.pool, self.organization_id);
        let first = self.entries[0].1;
        let older = |page: u64| first - TimeDelta::hours(i64::try_from(page).expect("small"));
        let begins = |page: u64| older(page).to_rfc3339();
        let name = "200 transactions of the older biller";
        measure(pool, name, begins, async |page| {
            let from = HistoryPosition {
                entry: None,
                other: Some(last_of(older(page))),
            };
            history_page(pool, organization_id, all(), from, ROWS)
                .await
                .expect("rows")
                .len()
        })
        .await;
        let agent = agent_ref(organization_id, 1);
        let name = "200 of the older biller for an agent";
        measure(pool, name, begins, async |page| {
            let from = AgentPosition::Other(last_of(older(page)));
            agent_history_page(pool, agent, all(), from, ROWS)
                .await
                .expect("rows")
                .len()
        })
        .await;
    }

    async fn measure_agents(&self) {
        let begins = |page| self.begins(page);
        for (name, agent) in [
            ("200 charges of an agent that always ran", 1),
            ("200 charges of an agent, minutes at a time", 7),
            ("200 charges of an agent, first week only", 8),
            ("200 charges of an agent, six hours a day", 9),
            ("200 charges of an agent, twice a month", 10),
        ] {
            let agent = agent_ref(self.organization_id, agent);
            measure(self.pool, name, begins, async |page| {
                let from = AgentPosition::Charge(ChargeKey {
                    period_start: self.pick(page).1,
                    span: SpanId::new(i64::MAX),
                });
                agent_history_page(self.pool, agent, all(), from, ROWS)
                    .await
                    .expect("rows")
                    .len()
            })
            .await;
        }
    }

    /// With the statements of the route.
    async fn measure_charges(&self) {
        let (pool, organization_id) = (self.pool, self.organization_id);
        let begins = |page| self.begins(page);
        measure(pool, "the charges of a transaction", begins, async |page| {
            let (seq, created_at, from, to) = self.pick(page);
            let entry = ChargedEntry {
                organization_id,
                seq,
                period: Period { from, to },
            };
            let mut conn = pool.statements_planned_for_values();
            let position = LedgerPosition { created_at, seq };
            let found = entry_find(&mut conn, organization_id, position).await;
            assert!(found.expect("a statement").is_some(), "{position:?}");
            let charges = charges_of_entry(&mut conn, entry, None, ROWS).await;
            charges_sum(&mut conn, entry).await.expect("a sum");
            charges.expect("charges").len()
        })
        .await;
    }
}

fn all() -> Selection<'static> {
    Selection {
        row_type: None,
        period: Period::ever(),
    }
}

/// Before every row of another application that was created at that time.
fn last_of(created_at: DateTime<Utc>) -> OtherPosition {
    OtherPosition {
        created_at,
        id: TransactionId::new(Uuid::max()),
    }
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
        measure(pool, name, always, async |_| {
            usage(pool, filter, group, None, 1_001)
                .await
                .expect("rows")
                .len()
        })
        .await;
    }
    measure(pool, "series of 400 days", always, async |_| {
        let mut conn = pool.statements();
        let history = balance_by_day(&mut conn, organization_id, last(400)).await;
        history.expect("rows").expect("a history").changes.len()
    })
    .await;
    measure(pool, "series of 31 days by hour", always, async |_| {
        let mut conn = pool.statements_planned_for_values();
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

/// What begins a report that is the same each time.
fn always(_: u64) -> String {
    "always the same".to_owned()
}

/// Reads pages and prints how long they took, how many rows they had on average, and which was the slowest.
async fn measure(
    pool: &Database,
    name: &str,
    begins: impl Fn(u64) -> String,
    read: impl AsyncFn(u64) -> usize,
) {
    let mut pages = Vec::new();
    let mut nothing = Vec::new();
    let mut rows = 0;
    for page in 0..WARM_UP_PAGES {
        read(page).await;
    }
    for page in 0..PAGES {
        let begun = Instant::now();
        rows += read(page).await;
        pages.push((milliseconds_since(begun), page));
        let begun = Instant::now();
        read_nothing(pool).await;
        nothing.push(milliseconds_since(begun));
    }
    pages.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (max, slowest) = pages[pages.len() - 1];
    let mut again = Vec::new();
    for _ in 0..REPETITIONS {
        let begun = Instant::now();
        read(slowest).await;
        again.push(milliseconds_since(begun));
    }
    let times: Vec<f64> = pages.iter().map(|(time, _)| *time).collect();
    nothing.sort_by(f64::total_cmp);
    again.sort_by(f64::total_cmp);
    let rows = rows / usize::try_from(PAGES).expect("small");
    println!(
        "{name:>46} {:>7.2} {:>7.2} {:>7.2} {max:>7.2} {rows:>7} | {:>7.2} {:>7.2} | {}: {:.2}",
        percentile(&times, 50),
        percentile(&times, 95),
        percentile(&times, 99),
        percentile(&nothing, 50),
        percentile(&nothing, 99),
        begins(slowest),
        percentile(&again, 50)
    );
}

/// What any statement takes: its transaction, and the way to the server and back.
async fn read_nothing(pool: &Database) {
    let mut conn = pool.statements();
    sqlx::query("SELECT 1")
        .execute(&mut conn)
        .await
        .expect("a statement");
}

fn milliseconds_since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1_000.0
}

/// Of times in ascending order.
fn percentile(times: &[f64], percent: usize) -> f64 {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
