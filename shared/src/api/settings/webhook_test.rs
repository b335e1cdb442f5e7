//! `POST /api/v1/settings/webhook/test`: an owner has a test sent to a webhook of the organization.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::body;
use crate::api::deps::WebhookDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::app::webhook::test::{TestResult, webhook_test};
use crate::domain::webhook::{WebhookKind, WebhookRef};

pub const ROUTE: Route = Route {
    description: "Sends the event `webhook.test` at once, and tells what the receiver answered. A test that succeeds \
                  switches the webhook on. There may be one test of a webhook within ten seconds.",
    caller: CallerKind::Owner,
    body: Some(RequestBody::required::<WebhookTestRequest>(
        r#"{"kind": "webhook"}"#,
    )),
    responses: &[ResponseKind::json::<Data<WebhookTestJson>>(
        200,
        "What the test led to.",
    )],
    refusals: &[404],
    ..Route::post(
        "webhook-test",
        "/api/v1/settings/webhook/test",
        Tag::Credits,
        "Test a webhook of the organization",
    )
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct WebhookTestRequest {
    /// The organization's own webhook, or Slack's.
    kind: WebhookKind,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookTest")]
struct WebhookTestJson {
    /// Whether the receiver answered with a status of success.
    delivered: bool,
    /// The HTTP status of the receiver's answer. Null if there was none.
    #[schemars(range(min = 100, max = 999))]
    status: Option<u16>,
    /// Why it was not delivered. Null if it was.
    reason: Option<String>,
}

impl From<TestResult> for WebhookTestJson {
    fn from(result: TestResult) -> Self {
        Self {
            delivered: result.reason.is_none(),
            status: result.status,
            reason: result.reason,
        }
    }
}

/// # Errors
/// 400, 401, 403, 404 if there is no such webhook, 415, 429 after another test, 503.
pub async fn handle(deps: &WebhookDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let mut fields = body::object(&request)?;
    let kind = fields.text("kind", "must be webhook or slack", |word| {
        WebhookKind::parse(word).is_some()
    });
    fields.finish()?;
    let kind = kind.and_then(|word| WebhookKind::parse(&word));
    let kind = kind.ok_or_else(Problem::internal)?;
    let webhook = WebhookRef {
        organization_id: caller.organization_id,
        kind,
    };
    let result = Box::pin(webhook_test(deps.for_app(), webhook)).await?;
    response::ok(WebhookTestJson::from(result))
}
