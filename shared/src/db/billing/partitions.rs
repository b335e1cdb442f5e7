//! The partitions of `ledger_entries` and `usage_charges`. Owns: that there is one for every month that is written soon.

use std::time::Duration;

use tracing::warn;

use crate::db::{self, Database, DatabaseFailure};

/// A call waits 5 s for the tables, which runs write.
const MAX_ATTEMPTS: u32 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Makes the partitions of this month and of the next three. Returns how many were made.
pub async fn ensure_partitions(database: &Database) -> sqlx::Result<i32> {
    let mut attempt = 1;
    loop {
        let mut conn = database.statements();
        let made = sqlx::query_scalar!(
            r#"SELECT cloud.ensure_partitions(cloud.billing_clock()) AS "made!""#
        )
        .fetch_one(&mut conn)
        .await;
        match made {
            Err(error)
                if db::classify(&error) == DatabaseFailure::Conflict && attempt < MAX_ATTEMPTS =>
            {
                let error = db::error_class(&error);
                warn!(attempt, error, "partitions were not made; trying again");
            }
            made => return made,
        }
        attempt += 1;
        tokio::time::sleep(RETRY_AFTER).await;
    }
}
