//! A database as an existing deployment has it: its whole schema, from the facts in `tests/legacy/`, and rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sqlx::{AssertSqlSafe, PgPool};

const ENUMS: &str = include_str!("../legacy/enums.tsv");
const COLUMNS: &str = include_str!("../legacy/columns.tsv");
const CONSTRAINTS: &str = include_str!("../legacy/constraints.tsv");
const INDEXES: &str = include_str!("../legacy/indexes.tsv");
const ROWS: &str = include_str!("../legacy/rows.sql");

/// Creates the schema and the rows.
pub async fn create(pool: &PgPool) {
    create_schema(pool).await;
    sqlx::raw_sql(ROWS).execute(pool).await.expect("the rows");
}

/// Creates the schema without rows.
pub async fn create_schema(pool: &PgPool) {
    sqlx::raw_sql(AssertSqlSafe(schema()))
        .execute(pool)
        .await
        .expect("the schema");
}

/// The lines of a file below its head, in cells.
fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).map(|line| line.split('\t').collect())
}

/// The statements that create it: enums, tables, keys, foreign keys, checks, indexes.
fn schema() -> String {
    let mut sql = String::new();
    let mut labels: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for cells in lines(ENUMS) {
        labels
            .entry(cells[0])
            .or_default()
            .push(format!("'{}'", cells[1]));
    }
    for (name, labels) in labels {
        writeln!(
            sql,
            "CREATE TYPE \"{name}\" AS ENUM ({});",
            labels.join(", ")
        )
        .expect("text");
    }
    let mut columns: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for cells in lines(COLUMNS) {
        let [table, column, kind, not_null, default] = cells[..] else {
            panic!("five cells, not {cells:?}");
        };
        let not_null = if not_null == "True" { " NOT NULL" } else { "" };
        let default = match default {
            "" => String::new(),
            default => format!(" DEFAULT {default}"),
        };
        let column = format!("\"{column}\" {kind}{not_null}{default}");
        columns.entry(table).or_default().push(column);
    }
    for (table, columns) in &columns {
        writeln!(sql, "CREATE TABLE \"{table}\" ({});", columns.join(", ")).expect("text");
    }
    let mut constraints: Vec<_> = lines(CONSTRAINTS).collect();
    constraints.sort_by_key(|cells| {
        ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]
            .iter()
            .position(|kind| cells[2].starts_with(kind))
    });
    let mut names = BTreeSet::new();
    for cells in constraints {
        let [table, name, definition] = cells[..] else {
            panic!("three cells, not {cells:?}");
        };
        names.insert(name);
        let added = format!("ALTER TABLE \"{table}\" ADD CONSTRAINT \"{name}\" {definition};");
        writeln!(sql, "{added}").expect("text");
    }
    for cells in lines(INDEXES) {
        let definition = cells[1];
        let name = definition
            .split(" INDEX ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        // The index of a key comes with its constraint.
        if !names.contains(name.expect("a name")) {
            writeln!(sql, "{definition};").expect("text");
        }
    }
    sql
}
