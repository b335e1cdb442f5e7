//! `GET|POST|PATCH|DELETE /api/v1/admin/image-roll-out`: shows, starts, pauses, resumes and cancels the roll-out of a new
//! version of the default image.

use lambda_http::http::Method;
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::body::{self, Fields};
use crate::api::deps::ImageDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::ImageDigest;
use crate::app::agent::roll_out::{
    LastRollOut, RollOutChange, RollOutProgress, RollOutRequest, roll_out_change,
    roll_out_progress, roll_out_start,
};
use crate::db::agents::image_restarts::UnchangedAgent;
use crate::domain::ids::{AgentId, OrganizationId, UserId};
use crate::domain::image::is_sha256_digest;
use crate::domain::roll_out::{
    DEFAULT_RESTARTS_AT_ONCE, MAX_RESTARTS_AT_ONCE, RestartOutcome, RollOutState,
};
use crate::domain::timestamp::Timestamp;

const PATH: &str = "/api/v1/admin/image-roll-out";
const DIGEST_RULE: &str = "must be sha256: and 64 hexadecimal digits";

pub const PROGRESS_ROUTE: Route = Route {
    operation: "image-roll-out-get",
    description: "Which version of the default image could be rolled out, and how far the last roll-out is.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<ImageRollOutJson>>(
        200,
        "The version and the progress.",
    )],
    ..Route::get(
        "image-roll-out",
        PATH,
        Tag::Admin,
        "Get the progress of the image's roll-out",
    )
};

pub const START_ROUTE: Route = Route {
    operation: "image-roll-out-start",
    description: "Running agents whose owners chose no image, and that run another version of the default one, are \
                  stopped with a snapshot and started on their hosts with this version, a few at the same time; they \
                  are not charged in between. An agent whose state cannot be saved keeps running as it is. One that \
                  cannot be started with this version is put back on the one that it ran before. If too many fail, \
                  the roll-out pauses by itself. Agents that stand still get the newest version at their next start. \
                  Refused with 409 while another roll-out is under way, or if no host has this version.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::required::<ImageRollOutRequest>(
        r#"{"digest": "sha256:2222222222222222222222222222222222222222222222222222222222222222", "restartsAtOnce": 3}"#,
    )),
    responses: &[ResponseKind::json::<Data<ImageRollOutJson>>(
        200,
        "The roll-out that has begun.",
    )],
    refusals: &[409],
    ..Route::post(
        "image-roll-out",
        PATH,
        Tag::Admin,
        "Roll out a version of the default image",
    )
};

pub const CHANGE_ROUTE: Route = Route {
    operation: "image-roll-out-change",
    description: "While it is paused, no restart is begun; those under way go on. After it is resumed, earlier failures \
                  do not pause it again. Refused with 409 if that changes nothing.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::required::<ImageRollOutChange>(
        r#"{"paused": true}"#,
    )),
    responses: &[ResponseKind::json::<Data<ImageRollOutJson>>(
        200,
        "The roll-out as it is now.",
    )],
    refusals: &[409],
    ..Route::patch(
        "image-roll-out",
        PATH,
        Tag::Admin,
        "Pause or resume the image's roll-out",
    )
};

pub const CANCEL_ROUTE: Route = Route {
    operation: "image-roll-out-cancel",
    description: "Agents that run the new version keep it. Those that are stopped for it are still started.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<ImageRollOutJson>>(
        200,
        "The roll-out that has ended.",
    )],
    refusals: &[409],
    ..Route::delete(
        "image-roll-out",
        PATH,
        Tag::Admin,
        "Cancel the image's roll-out",
    )
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct ImageRollOutRequest {
    /// A version of the default image that a host has, as `GET` shows it.
    digest: ImageDigest,
    /// How many agents are restarted at the same time; 3 by default. Of an organization it is a fifth at most.
    #[schemars(range(min = 1, max = MAX_RESTARTS_AT_ONCE))]
    restarts_at_once: Option<i32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct ImageRollOutChange {
    paused: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ImageRollOut")]
struct ImageRollOutJson {
    /// The image of agents that name none.
    image: String,
    /// The version of it that most hosts have; null if none has pulled it from a registry.
    digest: Option<String>,
    /// How many agents run another version than that one.
    #[schemars(range(min = 0))]
    outdated: i64,
    /// The last roll-out; null if there was none.
    roll_out: Option<RollOutJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RollOut")]
struct RollOutJson {
    image: String,
    digest: String,
    /// Null for a state that this version does not know.
    state: Option<RollOutState>,
    /// Why it has paused by itself.
    pause_reason: Option<String>,
    requested_at: Timestamp,
    requested_by: UserId,
    #[schemars(range(min = 1))]
    restarts_at_once: i32,
    done_at: Option<Timestamp>,
    /// Agents that are still to be restarted.
    #[schemars(range(min = 0))]
    waiting: i64,
    #[schemars(range(min = 0))]
    under_way: i64,
    /// Agents that run the new version.
    #[schemars(range(min = 0))]
    restarted: i64,
    #[schemars(range(min = 0))]
    failed: i64,
    #[schemars(range(min = 0))]
    skipped: i64,
    /// The agents that failed or were skipped, those that failed first.
    #[schemars(length(max = 1_000))]
    agents: Vec<UnchangedAgentJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UnchangedAgent")]
struct UnchangedAgentJson {
    agent_id: AgentId,
    organization_id: OrganizationId,
    agent_name: Option<String>,
    outcome: RestartOutcome,
    error: Option<String>,
    /// Whether the agent is still being put back on the version that it ran before.
    under_way: bool,
}

impl From<UnchangedAgent> for UnchangedAgentJson {
    fn from(agent: UnchangedAgent) -> Self {
        Self {
            agent_id: agent.agent_id,
            organization_id: agent.organization_id,
            agent_name: agent.agent_name,
            outcome: agent.outcome,
            error: agent.error,
            under_way: agent.is_open,
        }
    }
}

impl From<LastRollOut> for RollOutJson {
    fn from(last: LastRollOut) -> Self {
        let LastRollOut {
            roll_out,
            waiting,
            counts,
            unchanged,
        } = last;
        let agents = unchanged.into_iter().map(UnchangedAgentJson::from);
        Self {
            image: roll_out.image,
            digest: roll_out.digest,
            state: roll_out.state,
            pause_reason: roll_out.pause_reason,
            requested_at: Timestamp(roll_out.requested_at),
            requested_by: roll_out.requested_by,
            restarts_at_once: roll_out.restarts_at_once,
            done_at: roll_out.done_at.map(Timestamp),
            waiting,
            under_way: counts.under_way,
            restarted: counts.restarted,
            failed: counts.failed,
            skipped: counts.skipped,
            agents: agents.collect(),
        }
    }
}

impl ImageRollOutJson {
    fn new(image: &str, progress: RollOutProgress) -> Self {
        Self {
            image: image.to_owned(),
            digest: progress.digest,
            outdated: progress.outdated,
            roll_out: progress.last.map(RollOutJson::from),
        }
    }
}

/// # Errors
/// 400, 401, 403, 409, 415, 503.
pub async fn handle(deps: &ImageDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let (pool, image) = (&deps.pool, deps.default_image.as_str());
    match *request.method() {
        Method::POST => {
            let start = read_start(body::object(&request)?)?;
            let start = RollOutRequest {
                default_image: image,
                digest: &start.digest,
                restarts_at_once: start.restarts_at_once,
            };
            roll_out_start(pool, admin.user_id, start).await?;
        }
        Method::PATCH => {
            let change = read_change(body::object(&request)?)?;
            roll_out_change(pool, admin.user_id, change).await?;
        }
        Method::DELETE => roll_out_change(pool, admin.user_id, RollOutChange::Cancel).await?,
        _ => {}
    }
    let progress = roll_out_progress(pool, image).await?;
    response::ok(ImageRollOutJson::new(image, progress))
}

struct Start {
    digest: String,
    restarts_at_once: i32,
}

fn read_start(mut fields: Fields) -> Result<Start, Problem> {
    let digest = fields.text("digest", DIGEST_RULE, is_sha256_digest);
    let rule = "must be a whole number from 1 to 20";
    let restarts_at_once =
        fields.optional_integer("restartsAtOnce", rule, 1..=MAX_RESTARTS_AT_ONCE);
    fields.finish()?;
    Ok(Start {
        digest: digest.unwrap_or_default(),
        restarts_at_once: restarts_at_once.unwrap_or(DEFAULT_RESTARTS_AT_ONCE),
    })
}

fn read_change(mut fields: Fields) -> Result<RollOutChange, Problem> {
    let paused = fields.optional_flag("paused");
    fields.finish()?;
    match paused {
        Some(true) => Ok(RollOutChange::Pause),
        Some(false) => Ok(RollOutChange::Resume),
        None => Err(Problem::field("paused", "is required")),
    }
}
