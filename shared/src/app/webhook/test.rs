//! Testing a webhook: one call at once, whether or not the webhook is switched off. Owns: how often that is allowed, and
//! that a test which succeeds switches the webhook on. A test that fails changes nothing.

use super::WebhookDeps;
use super::message::{slack_test_body, test_body};
use super::send::send;
use crate::app::error::RequestError;
use crate::db;
use crate::domain::limits::WEBHOOK_TESTS;
use crate::domain::webhook::{TEST_INTERVAL, WebhookKind, WebhookRef};

const NOT_FOUND: RequestError =
    RequestError::NotFound("The organization has no such webhook; save one first");

/// What a test led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// What the receiver answered, if it did.
    pub status: Option<u16>,
    /// Why the test failed, if it did.
    pub reason: Option<String>,
}

/// # Errors
/// [`RequestError::NotFound`]; [`RequestError::TooSoon`] after another test.
pub async fn webhook_test(
    deps: WebhookDeps<'_>,
    webhook: WebhookRef,
) -> Result<TestResult, RequestError> {
    let mut conn = deps.pool.statements();
    let target = db::webhooks::registered::webhook_find(&mut conn, webhook).await?;
    let target = target.ok_or(NOT_FOUND)?;
    let now = db::clock::billing_clock(&mut conn).await?;
    let since = now - TEST_INTERVAL;
    let id = db::webhooks::registered::test_begin(&mut conn, webhook, now, since).await?;
    let Some(id) = id else {
        return Err(RequestError::TooSoon {
            limit: WEBHOOK_TESTS,
            retry_after: TEST_INTERVAL,
        });
    };
    let body = match webhook.kind {
        WebhookKind::Webhook => test_body(webhook, id, now),
        WebhookKind::Slack => slack_test_body(),
    };
    match send(deps, webhook, &target, &body, now).await {
        Ok(status) => {
            let now = db::clock::billing_clock(&mut conn).await?;
            db::webhooks::registered::webhook_switch_on(&mut conn, webhook, now).await?;
            Ok(TestResult {
                status: Some(status),
                reason: None,
            })
        }
        Err(error) => Ok(TestResult {
            status: error.reason().status(),
            reason: Some(error.to_string()),
        }),
    }
}
