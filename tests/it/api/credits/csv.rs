//! The lists of credit as CSV.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::suite::Request;
use tests::{World, run};

use super::busy::Busy;
use super::{HISTORY, SERIES, USAGE};

/// Reads RFC 4180: records of fields.
pub fn parse(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let (mut record, mut field) = (Vec::new(), String::new());
    let mut is_quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => record.push(std::mem::take(&mut field)),
            '\r' if !is_quoted => {
                assert_eq!(chars.next(), Some('\n'), "lines end with CR LF");
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    assert!(
        record.is_empty() && field.is_empty(),
        "the last line ends with CR LF"
    );
    records
}

/// A row of JSON as the texts of its fields, with an apostrophe before what looks like a formula.
fn fields(row: &Value) -> BTreeMap<String, String> {
    let members = row.as_object().expect("a row").iter();
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    members
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

#[test]
fn csv_holds_what_json_holds() {
    run(async {
        let busy = Busy::new().await;
        let usage = busy.json(&format!("{HISTORY}?type=usage&limit=1")).await["data"][0].take();
        let id = usage["id"].as_str().expect("an id");
        let period = "from=2026-02-20&to=2026-03-10";
        for (target, pointer) in [
            (HISTORY.to_owned(), "/data"),
            (format!("{HISTORY}?agentId={}", busy.running), "/data"),
            (
                format!("{HISTORY}?agentId={}&type=usage", busy.flipping),
                "/data",
            ),
            (format!("{HISTORY}/{id}/charges"), "/data/lines"),
            (format!("{USAGE}?group=agent&{period}"), "/data"),
            (format!("{USAGE}?group=day&{period}"), "/data"),
            (format!("{USAGE}?group=hour&{period}"), "/data"),
            (format!("{SERIES}?{period}"), "/data"),
        ] {
            let rows = busy
                .json(&target)
                .await
                .pointer_mut(pointer)
                .expect("rows")
                .take();
            let expected: Vec<_> = rows.as_array().expect("rows").iter().map(fields).collect();
            assert!(!expected.is_empty(), "{target}");
            let mut csv = busy.walk_csv(&target).await;
            for (row, json) in csv.iter_mut().zip(&expected) {
                // A column that this list does not have in JSON is empty.
                row.retain(|name, text| json.contains_key(name) || !text.is_empty());
            }
            assert_eq!(csv, expected, "{target}");
        }
    });
}

#[test]
fn a_page_of_csv_leads_to_the_next() {
    run(async {
        let busy = Busy::new().await;
        for target in [
            HISTORY.to_owned(),
            format!("{HISTORY}?agentId={}", busy.running),
            format!("{USAGE}?group=hour&from=2026-03-01&to=2026-03-10"),
        ] {
            let separator = if target.contains('?') { '&' } else { '?' };
            let whole = busy.walk_csv(&target).await;
            for limit in [1, 7] {
                let pages = busy
                    .walk_csv(&format!("{target}{separator}limit={limit}"))
                    .await;
                assert_eq!(pages, whole, "{target} {limit}");
            }
        }
    });
}

#[test]
fn csv_has_a_version_and_depends_on_accept() {
    run(async {
        let busy = Busy::new().await;
        let request = |accept: &str| {
            Request::new("GET", HISTORY)
                .key(&busy.key)
                .header("accept", accept)
        };
        let csv = busy.world.call(request("text/csv")).await;
        let tag = csv.header("etag").expect("an ETag").to_owned();
        assert_eq!(csv.header("vary"), Some("Accept, Accept-Encoding"));
        let again = busy
            .world
            .call(request("text/csv").header("if-none-match", &tag))
            .await;
        assert_eq!((again.status(), again.text()), (304, ""));
        let json = busy
            .world
            .call(request("application/json").header("if-none-match", &tag))
            .await;
        assert_eq!(
            (json.status(), json.header("vary")),
            (200, Some("Accept, Accept-Encoding"))
        );
        assert_eq!(json.header("content-type"), Some("application/json"));
    });
}

#[test]
fn texts_that_look_like_formulas_are_marked() {
    run(async {
        let busy = Busy::new().await;
        let rows = busy
            .walk_csv(&format!("{HISTORY}?type=credit&to=2026-03-01"))
            .await;
        assert_eq!(rows.len(), 7);
        for row in rows {
            assert_eq!(row["description"], "'=HYPERLINK(\"x\"), two");
            assert_eq!(row["amount"], "1.5");
        }
    });
}

#[test]
fn an_answer_holds_20000_lines_and_leads_to_the_rest() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        sqlx::query(
            "INSERT INTO credit_transactions (organization_id, amount, type, description, created_at)
            SELECT $1, 1, 'credit', repeat('x', 100), '2026-01-01'::timestamp + n * interval '1 second'
            FROM generate_series(1, 20005) n",
        )
        .bind(organization)
        .execute(&world.pool)
        .await
        .expect("rows");
        let get = async |target: &str| {
            let request = Request::new("GET", target)
                .key(&key)
                .header("accept", "text/csv");
            world.call(request).await
        };
        let first = get(HISTORY).await;
        assert_eq!(parse(first.text()).len(), 20_001);
        let link = first.header("link").expect("a link");
        let next = link
            .strip_prefix('<')
            .and_then(|link| link.split_once('>'))
            .expect("a link")
            .0;
        assert!(next.starts_with(&format!("{HISTORY}?cursor=")), "{next}");
        let second = get(next).await;
        assert_eq!(
            (parse(second.text()).len(), second.header("link")),
            (6, None)
        );
    });
}
