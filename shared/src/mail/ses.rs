//! Handing mails over to SES (`SendEmail` of its API version 2, with the whole message). Owns: which answer means what.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::json;

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
const ACCOUNT_ERRORS: [&str; 5] = [
    "AccountSuspendedException",
    "LimitExceededException",
    "MailFromDomainNotVerifiedException",
    "SendingPausedException",
    "ThrottlingException",
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
        Err(refusal(status.as_u16(), kind.as_deref()))
    }
}

fn not_sent(error: &reqwest::Error) -> SendError {
    SendError::temporary(format!("SES cannot be reached ({})", error.class()))
}

/// An error says that SES has not taken the mail.
fn refusal(status: u16, kind: Option<&str>) -> SendError {
    let reason = format!("SES answered {status} {}", kind.unwrap_or("without a name"));
    let is_about_account = kind.is_some_and(|kind| ACCOUNT_ERRORS.contains(&kind));
    if status == 400 && !is_about_account {
        SendError::refused(reason)
    } else {
        SendError::temporary(reason)
    }
}

async fn message_id(mut response: Response) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "MessageId")]
        id: String,
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            return None;
        }
    }
    let answer: Answer = serde_json::from_slice(&body).ok()?;
    Some(answer.id).filter(|id| id.len() <= 200)
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
            (403, Some("AccessDeniedException"), false),
            (404, Some("NotFoundException"), false),
            (429, Some("TooManyRequestsException"), false),
            (500, Some("InternalFailure"), false),
            (503, None, false),
        ] {
            let error = refusal(status, kind);
            let refused = matches!(error, SendError::Refused { .. });
            assert_eq!(refused, is_final, "{error}");
        }
    }
}
