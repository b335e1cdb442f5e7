//! The parameters that several routes have.

use super::list::MAX_PAGE;
use super::route::Parameter;
use super::schema::{
    Cursor, Etag, KeyText, LogSince, NodeId, OriginText, PageSize, SyncText, WebhookUrl,
};
use crate::domain::ids::{
    AgentId, ApiKeyId, BackupId, DeliveryId, JobId, OrganizationId, TransactionId,
};

/// The parameters that paths may have.
pub const PATH: &[Parameter] = &[
    Parameter::path::<AgentId>("agentId", "").example(r#""11111111-2222-4333-8444-555555555555""#),
    Parameter::path::<BackupId>("backupId", "")
        .example(r#""22222222-3333-4444-8555-666666666666""#),
    Parameter::path::<AgentId>(
        "containerId",
        "The agent's id, as the list of containers gives it.",
    )
    .example(r#""11111111-2222-4333-8444-555555555555""#),
    Parameter::path::<JobId>("jobId", "").example(r#""99999999-8888-4777-8666-555555555555""#),
    Parameter::path::<ApiKeyId>("keyId", "The id of an API key, not the key itself.")
        .example(r#""77777777-8888-4999-8aaa-bbbbbbbbbbbb""#),
    Parameter::path::<DeliveryId>("mailId", "")
        .example(r#""55555555-6666-4777-8888-999999999999""#),
    Parameter::path::<NodeId>("nodeId", "").example(r#""local""#),
    Parameter::path::<OrganizationId>("organizationId", "")
        .example(r#""33333333-4444-4555-8666-777777777777""#),
    Parameter::path::<TransactionId>("transactionId", "")
        .example(r#""019ca700-3e80-8000-8000-000000000001""#),
];

pub const LIMIT: Parameter =
    Parameter::query::<PageSize<MAX_PAGE, MAX_PAGE>>("limit", "The number of entries of a page.")
        .example("50");

pub const CURSOR: Parameter = Parameter::query::<Cursor>(
    "cursor",
    "The `nextCursor` of the previous page. Any other text is refused.",
)
.example(r#""MTc5NTQzMjEwMDEyMzQ1Ni4xMTExMTExMS0yMjIyLTQzMzMtODQ0NC01NTU1NTU1NTU1NTU""#);

pub const SYNC: Parameter = Parameter::query::<SyncText>(
    "sync",
    "Whether to wait until the agent runs. The status is 202 all the same if that takes longer than a request may.",
)
.example(r#""false""#);

pub const IDEMPOTENCY_KEY: Parameter = Parameter::header::<KeyText>(
    "Idempotency-Key",
    "Makes the request safe to repeat for 24 hours. The same request with the same key gets the first response \
     again, or 409 with `Retry-After` while the first is still running. Another request with the key gets 422.",
)
.example(r#""5f0c7a1e-start""#);

pub const IF_NONE_MATCH: Parameter = Parameter::header::<Etag>(
    "If-None-Match",
    "The `ETag` of a response that the client has cached.",
)
.example(r#""\"Zm9vYmFyYmF6cXV4cXV1eA\"""#);

pub const WEBHOOK_URL: Parameter = Parameter::header::<WebhookUrl>(
    "X-Webhook-URL",
    "The URL to call when the job ends. Its address must be public, its port 443, and it must not redirect. The \
     body is `{event: \"job.completed\", jobId, type, status, result, completedAt}`, signed in \
     `X-Milady-Signature: t=<unix seconds>,v1=<HMAC-SHA256 of \"t.body\" in hex>` with the secret of this job. \
     There are at most five attempts.",
)
.example(r#""https://hooks.example.com/milady""#);

pub const ORIGIN: Parameter = Parameter::header::<OriginText>(
    "Origin",
    "The origin of the calling page, as browsers send it.",
)
.required()
.example(r#""http://localhost:3000""#);

pub const LOG_SINCE: Parameter = Parameter::query::<LogSince>(
    "since",
    "Excludes lines older than this date, or than this age in seconds, minutes, hours or days.",
)
.example(r#""1h""#);
