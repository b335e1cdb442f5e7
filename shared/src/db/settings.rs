//! The settings of the role that the functions log in as. Owns: which they are, and finding those that differ.

use sqlx::{Connection as _, PgConnection};

/// `db-migrate` gives them to the role. No function sends them, because a pooler would not carry them.
pub const SETTINGS: [(&str, &str); 8] = [
    ("TimeZone", "UTC"),
    // Every name in our statements is qualified, so nothing in `public` can stand in for it.
    ("search_path", "pg_catalog, pg_temp"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "1min"),
    // Of a function that is frozen. One that runs closes idle connections itself.
    ("idle_session_timeout", "1min"),
    // The planner takes an array of thousands of ids for a constant. With custom plans it would plan every page anew,
    // scan whole tables, and compile the expressions.
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// The names of the settings that differ from these, read in a transaction of its own.
pub async fn wrong_settings(
    conn: &mut PgConnection,
    expected: &[(&str, &str)],
) -> sqlx::Result<Vec<String>> {
    let (names, values): (Vec<_>, Vec<_>) = expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .unzip();
    let mut tx = conn.begin().await?;
    let wrong = sqlx::query_scalar(
        "SELECT name FROM UNNEST($1::text[], $2::text[]) AS s (name, value)
        WHERE pg_catalog.current_setting(name) <> value",
    )
    .persistent(false)
    .bind(names)
    .bind(values)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(wrong)
}
