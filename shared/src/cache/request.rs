//! The limit on requests for a refresh run: at most one requester at a time.

use chrono::{DateTime, TimeDelta, Utc};

use super::client::unavailable;
use super::item::{PK, REQUEST, SK, text, time};
use super::{Cache, CacheError};

/// After one reader has requested a run, no other reader needs to for this long.
const REQUEST_INTERVAL: TimeDelta = TimeDelta::seconds(10);

impl Cache {
    /// Records that the caller requests a run. Returns false, and records nothing, if another reader has done so
    /// in the last 10 s.
    pub async fn claim_refresh_request(&self, now: DateTime<Utc>) -> Result<bool, CacheError> {
        let put = self.client().await.put_item();
        let put = put
            .table_name(&self.table)
            .item(PK, text(REQUEST))
            .item(SK, text(REQUEST))
            .item("requested_at", time(now))
            .condition_expression(
                "attribute_not_exists(requested_at) OR NOT attribute_type(requested_at, :number) \
                OR requested_at <= :before",
            )
            .expression_attribute_values(":before", time(now - REQUEST_INTERVAL))
            .expression_attribute_values(":number", text("N"));
        match Box::pin(put.send()).await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(refused) if refused.is_conditional_check_failed_exception() => Ok(false),
                _ => Err(unavailable(&error)),
            },
        }
    }
}
