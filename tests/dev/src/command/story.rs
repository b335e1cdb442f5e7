//! What a time lapse with a host shows: an agent that really runs, and an owner who pays too late. Owns: the requests of
//! that owner, and of an operator who grants what was paid. The functions do everything else.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use uuid::Uuid;

use super::seed::{DEMOS, FORGETFUL, seed_forgetful};
use super::stack::Stack;

const AGENT: &str = "diary";
/// USD per hour. At the list price, the credit would last for days.
const HOURLY_RATE: u32 = 1;
/// USD. The balance falls below it two hours before it is used up.
const LOW_CREDIT_MARK: u32 = 2;
const TIME_ZONE: &str = "Asia/Kolkata";
/// USD. Covers two days of debt and the day that a start needs.
const PAYMENT: u32 = 80;
/// For so long the agent is seen to be stopped.
const HOURS_UNTIL_PAYMENT: u32 = 6;
/// Longer than the API takes to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

pub(super) struct Story {
    client: Client,
    /// Without a slash at the end.
    api: String,
    organization: Uuid,
    agent: String,
    /// Since the agent was stopped for lack of credit.
    hours_stopped: u32,
}

impl Story {
    pub(super) const ORGANIZATION: &'static str = FORGETFUL.name;

    /// Creates the organization, and starts its agent.
    pub(super) async fn begin(stack: &Stack) -> Result<Self> {
        let organization = seed_forgetful(&stack.database).await?;
        let mut story = Self {
            // Requests stay on this machine.
            client: Client::builder()
                .no_proxy()
                .timeout(REQUEST_TIMEOUT)
                .build()?,
            api: format!("{}/api/v1", stack.base_url()),
            organization,
            agent: String::new(),
            hours_stopped: 0,
        };
        println!(
            "{} has ${}. Its agent costs ${HOURLY_RATE} an hour. {HOURS_UNTIL_PAYMENT} hours after it was stopped for \
             lack of credit, the owner pays ${PAYMENT}.",
            Self::ORGANIZATION,
            FORGETFUL.balance,
        );
        println!("  key of {:<13} {}", Self::ORGANIZATION, FORGETFUL.key());
        let settings = json!({"lowCreditMark": LOW_CREDIT_MARK, "timeZone": TIME_ZONE});
        story
            .call_as_owner(Method::PATCH, "settings", &settings)
            .await?;
        let agent = json!({"agentName": AGENT});
        let created = story
            .call_as_owner(Method::POST, "milady/agents", &agent)
            .await?;
        let id = created["data"]["id"].as_str();
        story.agent = id.context("the new agent has no id")?.to_owned();
        let start = format!("milady/agents/{}/provision?sync=true", story.agent);
        story
            .call_as_owner(Method::POST, &start, &Value::Null)
            .await?;
        // Not before the start, which needs the credit for a day.
        let billing = format!("admin/agents/{}/billing", story.agent);
        let rate = json!({"hourlyRate": HOURLY_RATE});
        story
            .call_as_operator(Method::PATCH, &billing, &rate)
            .await?;
        Ok(story)
    }

    /// Pays if it is time to.
    pub(super) async fn hour_passed(&mut self) -> Result<()> {
        let path = format!("milady/agents/{}", self.agent);
        let agent = self.call_as_owner(Method::GET, &path, &Value::Null).await?;
        let agent = &agent["data"];
        if agent["status"] != "stopped" || agent["stopReason"] != "billing" {
            self.hours_stopped = 0;
            return Ok(());
        }
        self.hours_stopped += 1;
        if self.hours_stopped != HOURS_UNTIL_PAYMENT {
            return Ok(());
        }
        let credit = json!({"organizationId": self.organization, "amount": PAYMENT, "reason": "paid too late"});
        self.call_as_operator(Method::POST, "admin/credits", &credit)
            .await?;
        println!("  {} pays ${PAYMENT}", Self::ORGANIZATION);
        Ok(())
    }

    async fn call_as_owner(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        self.call(&FORGETFUL.key(), method, path, body).await
    }

    async fn call_as_operator(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        self.call(&DEMOS[0].key(), method, path, body).await
    }

    /// Sends a request, without a body if it is null. Any answer but a success is an error.
    async fn call(&self, key: &str, method: Method, path: &str, body: &Value) -> Result<Value> {
        let what = format!("{method} {path}");
        let mut request = self
            .client
            .request(method, format!("{}/{path}", self.api))
            .header("x-api-key", key)
            // A grant is refused without one.
            .header("idempotency-key", Uuid::new_v4().to_string());
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.with_context(|| what.clone())?;
        let status = response.status();
        let text = response.text().await.with_context(|| what.clone())?;
        if !status.is_success() {
            bail!("{what} was answered with {status}: {text}");
        }
        serde_json::from_str(&text).context(what)
    }
}
