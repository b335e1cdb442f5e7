//! An organization with everything that a history can hold: agents that always run, are stored, run for minutes, are
//! deleted; debts and late payment; purchases; rows of an older biller and of applications with odd metadata.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::{Value, json};
use shared::app::billing::statement::state_days;
use tests::World;
use tests::suite::{Request, Response};
use tests::world::{hours, minutes};
use uuid::Uuid;

pub struct Busy {
    pub world: World,
    pub organization: Uuid,
    pub key: String,
    /// Always running, the oldest.
    pub running: Uuid,
    /// Stored all the time.
    pub stored: Uuid,
    /// Many short spans within an hour.
    pub flipping: Uuid,
    pub deleted: Uuid,
}

/// The last hour that was billed.
pub const LAST_HOUR: i64 = 28;

impl Busy {
    pub async fn new() -> Self {
        let world = World::new().await;
        let organization = world.organization("0.35").await;
        let key = world.key(organization).await;
        let running = world.agent(organization, "running").await;
        let stored = world.agent(organization, "stopped").await;
        let flipping = world.agent(organization, "stopped").await;
        let deleted = world.agent(organization, "running").await;
        let busy = Self {
            world,
            organization,
            key,
            running,
            stored,
            flipping,
            deleted,
        };
        busy.older_rows().await;
        busy.live().await;
        busy
    }

    async fn live(&self) {
        let world = &self.world;
        world.run_billing(1).await;
        for minute in 0..20 {
            world.set_clock(minutes(65 + 2 * minute)).await;
            let status = if minute % 2 == 0 {
                "running"
            } else {
                "stopped"
            };
            world.set_status(self.flipping, status).await;
        }
        world.run_billing(2).await;
        world.set_clock(minutes(150)).await;
        world.delete(self.deleted).await;
        // The credit ends at about hour 10.
        for hour in [3, 4, 5, 8, 11, 12, 16] {
            world.run_billing(hour).await;
        }
        world.set_clock(minutes(16 * 60 + 20)).await;
        world.top_up(self.organization, "0.1").await;
        world.run_billing(17).await;
        world.set_clock(minutes(18 * 60 + 20)).await;
        world.top_up(self.organization, "20").await;
        // Many hours are paid at once. The run of hour 26 also charges an hour of the day before.
        for hour in [19, 20, 23, 26, 27, LAST_HOUR] {
            world.run_billing(hour).await;
        }
    }

    /// What an older biller and other applications wrote before.
    async fn older_rows(&self) {
        let insert = "INSERT INTO credit_transactions (organization_id, amount, type, description, metadata, created_at)";
        for hour in 1..=9 {
            let metadata = json!({"sandbox_id": self.running, "agent_name": "agent", "billing_type": "milady_running",
                "hourly_rate": 0.02, "billing_hour": hours(-hour)});
            self.insert_other(insert, "-0.02", "debit", &metadata, -hour)
                .await;
        }
        // Two at the same time.
        let stored = json!({"sandbox_id": self.stored, "billing_type": "milady_idle", "hourly_rate": "0.0025"});
        self.insert_other(insert, "-0.0025", "debit", &stored, -3)
            .await;
        self.insert_other(insert, "-0.0025", "debit", &stored, -3)
            .await;
        for metadata in [
            json!({"sandbox_id": 7, "billing_type": ["milady_running"], "hourly_rate": {"a": 1}}),
            json!({"sandbox_id": "'; DROP TABLE jobs", "billing_type": "milady_other", "hourly_rate": "NaN"}),
            json!({"hourly_rate": "-1", "sandbox_id": null}),
            json!({"hourly_rate": "99999999999999999999999999999999999999999"}),
            json!([1, 2]),
            json!("text"),
            Value::Null,
        ] {
            self.insert_other(insert, "1.5", "credit", &metadata, -5)
                .await;
        }
        self.world
            .execute("UPDATE credit_transactions SET description = '=HYPERLINK(\"x\"), two' WHERE amount = 1.5")
            .await;
    }

    async fn insert_other(
        &self,
        insert: &'static str,
        amount: &str,
        row_type: &str,
        metadata: &Value,
        hour: i64,
    ) {
        let sql = format!("{insert} VALUES ($1, $2::text::numeric, $3, 'Milady agent', $4, $5)");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(self.organization)
            .bind(amount)
            .bind(row_type)
            .bind(metadata)
            .bind(hours(hour).naive_utc())
            .execute(&self.world.pool)
            .await
            .expect("a row");
    }

    pub async fn get(&self, target: &str) -> Response {
        self.world.get(&self.key, target).await
    }

    /// The body of a 200.
    pub async fn json(&self, target: &str) -> Value {
        let response = self.get(target).await;
        assert_eq!(response.status(), 200, "{target}: {}", response.text());
        response.json()
    }

    /// The rows at this pointer on all pages.
    pub async fn walk(&self, target: &str, pointer: &str, limit: usize) -> Vec<Value> {
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{separator}limit={limit}");
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.json(&format!("{target}{cursor}")).await;
            let read = page
                .pointer(pointer)
                .and_then(Value::as_array)
                .expect("rows");
            rows.extend(read.iter().cloned());
            let Some(next) = page["nextCursor"].as_str() else {
                return rows;
            };
            assert_eq!(read.len(), limit, "{target}");
            cursor = format!("&cursor={next}");
        }
    }

    /// The rows of all CSV answers, each as its fields by the names of the header line.
    pub async fn walk_csv(&self, target: &str) -> Vec<BTreeMap<String, String>> {
        let mut rows = Vec::new();
        let mut target = target.to_owned();
        loop {
            let request = Request::new("GET", &target)
                .key(&self.key)
                .header("accept", "text/csv");
            let response = self.world.call(request).await;
            assert_eq!(response.status(), 200, "{target}: {}", response.text());
            assert_eq!(
                response.header("content-type"),
                Some("text/csv; charset=utf-8; header=present")
            );
            let mut lines = super::csv::parse(response.text()).into_iter();
            let header = lines.next().expect("a header line");
            rows.extend(lines.map(|fields| {
                assert_eq!(fields.len(), header.len(), "{target}");
                header.iter().cloned().zip(fields).collect()
            }));
            let Some(link) = response.header("link") else {
                return rows;
            };
            let next = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""));
            next.expect("a link to the next rows")
                .clone_into(&mut target);
        }
    }

    /// A number that SQL returns as text.
    pub async fn text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql)
            .bind(self.organization)
            .fetch_one(&self.world.pool)
            .await
            .expect(sql)
    }
}

/// The sum of a member of rows, exactly.
pub fn sum(rows: &[Value], member: &str) -> rust_decimal::Decimal {
    rows.iter().map(|row| decimal(&row[member])).sum()
}

/// A number of JSON as it is written.
pub fn decimal(value: &Value) -> rust_decimal::Decimal {
    let text = value.to_string();
    let parsed = text
        .parse()
        .or_else(|_| rust_decimal::Decimal::from_scientific(&text));
    parsed.unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Writes the statements of all days up to this one.
pub async fn state_day(busy: &Busy, day: &str) {
    let day: NaiveDate = day.parse().expect("a day");
    let next = day.succ_opt().expect("a day");
    let report = state_days(&busy.world.database, next, None)
        .await
        .expect("a statement");
    assert!(report.complete);
}
