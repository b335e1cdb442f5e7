//! Handing mails over to SES (`SendEmail` of its API version 2, with the whole message). Owns: which answer means what.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::outgoing::{Mail, SendError};
use crate::aws::{AwsAccount, Service, error_name};
use crate::failure::Cause;

/// The tag that names the delivery in SES's events.
pub const TAG: &str = "milady-delivery";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RESPONSE_BYTES: usize = 1 << 16;
const SERVICE: Service = Service {
    host: "email",
    signing_name: "ses",
};
const PATH: &str = "/v2/email/outbound-emails";
const HEADERS: [(&str, &str); 1] = [("content-type", "application/json")];
/// Errors with status 400 that say nothing about the mail: an operator has to repair the account, or it sends too fast.
/// Some have the names that the older version of the API gives them.
const ACCOUNT_ERRORS: [&str; 8] = [
    "AccountSendingPausedException",
    "AccountSuspendedException",
    "ConfigurationSetDoesNotExistException",
    "ConfigurationSetSendingPausedException",
    "LimitExceededException",
    "MailFromDomainNotVerifiedException",
    "SendingPausedException",
    "ThrottlingException",
];
/// Parts of the messages of `MessageRejected` that say nothing about the mail either, and what they mean.
const ACCOUNT_MESSAGES: [(&str, &str); 3] = [
    (
        "not verified",
        "it has not verified the sender, or the account is in its sandbox",
    ),
    ("Sending paused", "the account may not send"),
    ("Sending suspended", "the account may not send"),
];

pub(super) struct Ses {
    pub(super) account: AwsAccount,
    pub(super) configuration_set: Option<String>,
}

impl Ses {
    /// Returns SES's identifier of the mail; `None` if SES took it and its answer did not arrive whole.
    pub(super) async fn send(
        &self,
        mail: &Mail,
        message: &[u8],
    ) -> Result<Option<String>, SendError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a signature holds the time at which AWS receives it"
        )]
        let now = SystemTime::now();
        let mut body = json!({
            "Destination": {"ToAddresses": [mail.to]},
            "Content": {"Raw": {"Data": STANDARD.encode(message)}},
            "EmailTags": [{"Name": TAG, "Value": mail.id}],
        });
        if let Some(name) = &self.configuration_set {
            body["ConfigurationSetName"] = json!(name);
        }
        let request = self
            .account
            .post(SERVICE, PATH, &HEADERS, body.to_string(), now);
        let request = request.and_then(|request| reqwest::Request::try_from(request).ok());
        let request =
            request.ok_or_else(|| SendError::temporary("the request of SES has no valid form"))?;
        // Mails are rare, so no connection is kept: what arrives on a new one was not sent before.
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| not_sent(&error))?;
        let response = client.execute(request).await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                not_sent(&error)
            } else {
                SendError::unknown(format!("SES did not answer ({})", error.class()))
            }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(message_id(response).await);
        }
        let kind = response.headers().get("x-amzn-errortype");
        let kind = kind
            .and_then(|kind| kind.to_str().ok())
            .and_then(error_name);
        let body = read_body(response).await.unwrap_or_default();
        let problem = problem_of_account(&body);
        Err(refusal(status.as_u16(), kind.as_deref(), problem))
    }
}

fn not_sent(error: &reqwest::Error) -> SendError {
    SendError::temporary(format!("SES cannot be reached ({})", error.class()))
}

/// An error says that SES has not taken the mail. `account_problem` is what an operator has to repair: every recipient
/// would be refused.
fn refusal(status: u16, kind: Option<&str>, account_problem: Option<&str>) -> SendError {
    let reason = format!("SES answered {status} {}", kind.unwrap_or("without a name"));
    if let Some(problem) = account_problem {
        return SendError::temporary(format!("{reason}: {problem}"));
    }
    let is_about_account = kind.is_some_and(|kind| ACCOUNT_ERRORS.contains(&kind));
    if status == 400 && !is_about_account {
        SendError::refused(reason)
    } else {
        SendError::temporary(reason)
    }
}

/// What is wrong with the account, as far as the message of an error says so. The message itself is not shown: it names
/// addresses.
fn problem_of_account(body: &[u8]) -> Option<&'static str> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    // AWS writes the key in both ways.
    let message = answer.get("message").or_else(|| answer.get("Message"))?;
    let message = message.as_str()?;
    ACCOUNT_MESSAGES
        .into_iter()
        .find_map(|(part, problem)| message.contains(part).then_some(problem))
}

async fn message_id(response: Response) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "MessageId")]
        id: String,
    }
    let answer: Answer = serde_json::from_slice(&read_body(response).await?).ok()?;
    Some(answer.id).filter(|id| id.len() <= 200)
}

/// `None` if it is too long or did not arrive whole.
async fn read_body(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            return None;
        }
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_about_the_mail_is_final() {
        for (status, kind, is_final) in [
            (400, Some("MessageRejected"), true),
            (400, Some("BadRequestException"), true),
            (400, None, true),
            (400, Some("SendingPausedException"), false),
            (400, Some("MailFromDomainNotVerifiedException"), false),
            (400, Some("ConfigurationSetDoesNotExistException"), false),
            (403, Some("AccessDeniedException"), false),
            (404, Some("NotFoundException"), false),
            (429, Some("TooManyRequestsException"), false),
            (500, Some("InternalFailure"), false),
            (503, None, false),
        ] {
            let error = refusal(status, kind, None);
            let refused = matches!(error, SendError::Refused { .. });
            assert_eq!(refused, is_final, "{error}");
        }
    }

    #[test]
    fn a_message_about_the_account_is_for_the_operator_and_is_not_shown() {
        let unverified =
            "Email address is not verified. The following identities failed the check: a@a.example";
        let older = "Email address not verified \"b@a.example\"";
        let paused = "Sending paused for this account. Please check the inbox of c@a.example";
        let suppressed = "Address d@a.example is on the suppression list";
        for (key, message, is_final) in [
            ("message", unverified, false),
            ("Message", unverified, false),
            ("message", paused, false),
            ("message", older, false),
            ("message", suppressed, true),
            ("other", unverified, true),
        ] {
            let body = json!({key: message}).to_string();
            let problem = problem_of_account(body.as_bytes());
            let error = refusal(400, Some("MessageRejected"), problem);
            let refused = matches!(error, SendError::Refused { .. });
            assert_eq!(refused, is_final, "{key} {message}");
            assert!(!error.to_string().contains('@'), "{error}");
        }
        assert_eq!(problem_of_account(b"<html>is not verified</html>"), None);
    }
}
