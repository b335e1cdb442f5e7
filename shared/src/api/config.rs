//! `GET /api/v1/milady/config`: what a client must know to create an agent and to explain its costs.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::Auth;
use super::body::MAX_BODY_BYTES;
use super::list;
use super::problem::Problem;
use super::response::{Data, number};
use super::route::{CallerKind, ResponseKind, Route, Tag};
use crate::db::Database;
use crate::domain::image::Images;
use crate::domain::limits::{
    LimitName, MAX_AGENT_NAME_CHARS, MAX_CONFIG_BYTES, MAX_ENVIRONMENT_BYTES, MAX_IMAGE_BYTES,
    MAX_VARIABLE_NAME_BYTES,
};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

pub const ROUTES: &[Route] = &[Route {
    description: "The same for every caller. It changes only with the deployment's settings.",
    responses: &[ResponseKind::json::<Data<ConfigJson>>(200, "The settings.").with_etag()],
    ..Route::get(
        "config-get",
        "/api/v1/milady/config",
        Tag::Agents,
        "Get the prices, the images that may be chosen, and the limits",
    )
}];

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    pub prices: Prices,
    /// The images that agents may run.
    pub images: Images,
    /// Agents are reached at `https://<id>.<domain>`. `None` if they have no public address.
    pub domain: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Config")]
struct ConfigJson<'a> {
    /// The image of agents that name none.
    default_image: &'a str,
    /// Another image can be chosen if its name begins with one of these.
    image_prefixes: &'a [String],
    prices: PricesJson,
    /// The smallest balance, beyond the debt, with which an agent can be started, in US dollars.
    minimum_deposit: Money,
    /// The balance below which the owner is warned, in US dollars.
    low_credit: Money,
    /// Hours between the warning and the shutdown of an agent in debt.
    #[schemars(range(min = 1))]
    grace_hours: i64,
    /// Whether agents have public addresses, so that a browser can be paired with one.
    pairing: bool,
    limits: LimitsJson,
}

/// US dollars per hour, for agents without a rate of their own.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct PricesJson {
    /// Of a running agent.
    running: Money,
    /// Of a stopped agent whose backup is kept.
    idle: Money,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct LimitsJson {
    agent_name_characters: usize,
    agent_config_bytes: usize,
    environment_name_bytes: usize,
    /// Of all variables, names and values together.
    environment_bytes: usize,
    image_bytes: usize,
    /// Of any request.
    body_bytes: usize,
    /// Attempts to start or restore. `GET /api/v1/limits` says what holds for the organization.
    starts_per_agent_and_hour: i32,
    /// Likewise.
    snapshots_per_agent_and_hour: i32,
}

impl LimitsJson {
    fn new() -> Self {
        Self {
            agent_name_characters: MAX_AGENT_NAME_CHARS,
            agent_config_bytes: MAX_CONFIG_BYTES,
            environment_name_bytes: MAX_VARIABLE_NAME_BYTES,
            environment_bytes: MAX_ENVIRONMENT_BYTES,
            image_bytes: MAX_IMAGE_BYTES,
            body_bytes: MAX_BODY_BYTES,
            starts_per_agent_and_hour: LimitName::StartsPerAgentAndHour.default_value(),
            snapshots_per_agent_and_hour: LimitName::SnapshotsPerAgentAndHour.default_value(),
        }
    }
}

/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth
        .caller(&deps.pool, &request, CallerKind::Reader)
        .await?;
    let prices = &deps.prices;
    let config = ConfigJson {
        default_image: &deps.images.default,
        image_prefixes: &deps.images.allowed,
        prices: PricesJson {
            running: number(prices.running_hourly),
            idle: number(prices.idle_hourly),
        },
        minimum_deposit: prices.minimum_deposit,
        low_credit: prices.low_credit,
        grace_hours: prices.grace_hours,
        pairing: deps.domain.is_some(),
        limits: LimitsJson::new(),
    };
    list::respond(&request, &Data::new(config))
}
