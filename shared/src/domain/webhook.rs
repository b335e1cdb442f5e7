//! Webhooks: which URLs may be called, and when those of organizations are. Owns: the rules for the URL, what may be shown
//! of it, and when a webhook is left alone, switched off and tested. Does not own: the rules for the address that a URL
//! resolves to (`address`), nor the call (`webhook_client`).

use chrono::{DateTime, TimeDelta, Utc};
use url::{Host, Url};

use super::address::{AddressPolicy, is_public};
use super::ids::OrganizationId;
use super::mail;
use super::words::words;

const MAX_URL_BYTES: usize = 2_048;
/// How long a webhook may fail without interruption before it is switched off.
pub const SWITCH_OFF_AFTER: TimeDelta = TimeDelta::days(3);
/// How long after its event a delivery is given up. Longer than [`SWITCH_OFF_AFTER`], so that this happens only to an event
/// that its receiver refuses while it takes others.
pub const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(4);
/// How long after a test of a webhook the next one is refused.
pub const TEST_INTERVAL: TimeDelta = TimeDelta::seconds(10);
/// A status that says of a receiver that it is gone for good.
const GONE: u16 = 410;

words! {
    /// A webhook that an organization can have. It has at most one of each kind.
    pub enum WebhookKind {
        /// A server of its own, which checks signatures.
        Webhook = "webhook",
        /// An incoming webhook of Slack.
        Slack = "slack",
    }
}

/// A webhook of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookRef {
    pub organization_id: OrganizationId,
    pub kind: WebhookKind,
}

/// A series of failed attempts, without one that succeeded between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureSeries {
    pub failures: i32,
    pub since: DateTime<Utc>,
    /// No attempt is made before.
    pub due_at: DateTime<Utc>,
    /// Whether it ends the webhook.
    pub switches_off: bool,
}

impl FailureSeries {
    /// The series after one more failure. `status` is what the receiver answered, if it did.
    #[must_use]
    pub fn after_failure(
        failures: i32,
        since: Option<DateTime<Utc>>,
        status: Option<u16>,
        now: DateTime<Utc>,
    ) -> Self {
        let (failures, since) = (failures.saturating_add(1), since.unwrap_or(now));
        Self {
            failures,
            since,
            due_at: now + mail::retry_delay(failures),
            switches_off: status == Some(GONE) || now - since >= SWITCH_OFF_AFTER,
        }
    }
}

/// Parses and checks a webhook's URL: https on port 443 of a public host, or any http or https URL under
/// [`AddressPolicy::Any`]. The addresses that its host name resolves to are checked when the call is made.
///
/// # Errors
/// Why the URL is refused, in words for the client.
pub fn parse(text: &str, policy: AddressPolicy) -> Result<Url, &'static str> {
    let Ok(url) = text.parse::<Url>() else {
        return Err("must be a URL");
    };
    // The URL is stored as it is written here, and parsed again when it is called.
    if text.len() > MAX_URL_BYTES || url.as_str().len() > MAX_URL_BYTES {
        return Err("is too long");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password");
    }
    match (policy, url.scheme()) {
        (_, "https") | (AddressPolicy::Any, "http") => {}
        _ => return Err("must begin with https://"),
    }
    if policy == AddressPolicy::Any {
        return url.host().map(|_| url.clone()).ok_or("must name a host");
    }
    if url.port_or_known_default() != Some(443) {
        return Err("must use port 443");
    }
    let is_public = match url.host() {
        None => return Err("must name a host"),
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => is_public_name(name),
    };
    if is_public {
        Ok(url)
    } else {
        Err("must lead to a public address")
    }
}

/// Parses and checks the URL of an incoming webhook of Slack. Under [`AddressPolicy::Any`] it is any URL, so that another
/// server can stand in for Slack.
///
/// # Errors
/// Why the URL is refused, in words for the client.
pub fn parse_slack(text: &str, policy: AddressPolicy) -> Result<Url, &'static str> {
    let url = parse(text, policy)?;
    let is_slack = url.host_str() == Some("hooks.slack.com") && url.path().len() > 1;
    if policy == AddressPolicy::Any || is_slack {
        Ok(url)
    } else {
        Err("must begin with https://hooks.slack.com/")
    }
}

/// What may be shown of a URL whose rest is a secret: scheme and host.
#[must_use]
pub fn masked_url(url: &str) -> String {
    match url.parse::<Url>() {
        Ok(url) => format!("{}/…", url.origin().ascii_serialization()),
        Err(_) => "…".to_owned(),
    }
}

/// Whether a host name can be a public one: it has a dot and no top-level domain of local or private use.
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains('.')
        && ![
            "localhost",
            "local",
            "internal",
            "lan",
            "home",
            "arpa",
            "test",
            "invalid",
            "onion",
        ]
        .contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_https_urls_are_accepted() {
        for (text, refusal) in [
            ("https://hooks.example.com/agents?x=1", None),
            ("https://hooks.example.com:443/", None),
            ("https://93.184.216.34/", None),
            ("https://[2606:2800:220:1::1]/", None),
            (
                "http://hooks.example.com/",
                Some("must begin with https://"),
            ),
            ("ftp://hooks.example.com/", Some("must begin with https://")),
            ("https://hooks.example.com:8443/", Some("must use port 443")),
            (
                "https://user:word@hooks.example.com/",
                Some("must not hold a user name or password"),
            ),
            ("https://localhost/", Some("must lead to a public address")),
            ("https://LOCALHOST./", Some("must lead to a public address")),
            (
                "https://db.internal/",
                Some("must lead to a public address"),
            ),
            ("https://intranet/", Some("must lead to a public address")),
            ("https://127.0.0.1/", Some("must lead to a public address")),
            ("https://2130706433/", Some("must lead to a public address")),
            ("https://0x7f.1/", Some("must lead to a public address")),
            (
                "https://169.254.169.254/latest",
                Some("must lead to a public address"),
            ),
            ("https://[::1]/", Some("must lead to a public address")),
            (
                "https://[::ffff:10.0.0.1]/",
                Some("must lead to a public address"),
            ),
            ("hooks.example.com", Some("must be a URL")),
            ("", Some("must be a URL")),
        ] {
            assert_eq!(
                parse(text, AddressPolicy::PublicOnly).err(),
                refusal,
                "{text}"
            );
        }
        assert!(parse("http://127.0.0.1:9999/hook", AddressPolicy::Any).is_ok());
        let long = format!("https://hooks.example.com/{}", "x".repeat(MAX_URL_BYTES));
        assert_eq!(parse(&long, AddressPolicy::PublicOnly), Err("is too long"));
        // Six bytes for each of these letters.
        let escaped = format!("https://hooks.example.com/{}", "ü".repeat(400));
        assert!(escaped.len() < MAX_URL_BYTES);
        assert_eq!(
            parse(&escaped, AddressPolicy::PublicOnly),
            Err("is too long")
        );
    }

    #[test]
    fn only_incoming_webhooks_of_slack_count_as_slack() {
        let other = Some("must begin with https://hooks.slack.com/");
        for (text, refusal) in [
            ("https://hooks.slack.com/services/T0/B0/x", None),
            ("https://HOOKS.slack.com:443/services/T0/B0/x", None),
            ("https://hooks.slack.com/", other),
            ("https://hooks.slack.com.evil.example/services/x", other),
            ("https://hooks.slack.com./services/x", other),
            ("https://slack.com/services/x", other),
            ("https://evil.example/hooks.slack.com/", other),
            (
                "https://hooks.slack.com@evil.example/x",
                Some("must not hold a user name or password"),
            ),
            (
                "http://hooks.slack.com/services/x",
                Some("must begin with https://"),
            ),
            (
                "https://hooks.slack.com:8443/services/x",
                Some("must use port 443"),
            ),
        ] {
            let parsed = parse_slack(text, AddressPolicy::PublicOnly);
            assert_eq!(parsed.err(), refusal, "{text}");
        }
        assert!(parse_slack("http://127.0.0.1:9/x", AddressPolicy::Any).is_ok());
    }

    #[test]
    fn a_masked_url_shows_no_path_and_no_query() {
        for (url, shown) in [
            (
                "https://hooks.slack.com/services/T0/B0/x",
                "https://hooks.slack.com/…",
            ),
            (
                "https://hooks.example.com/a?token=x#y",
                "https://hooks.example.com/…",
            ),
            ("http://127.0.0.1:9999/hook", "http://127.0.0.1:9999/…"),
            ("nonsense", "…"),
        ] {
            assert_eq!(masked_url(url), shown);
        }
    }

    #[test]
    fn a_webhook_is_left_alone_longer_each_time_and_switched_off_after_three_days() {
        let start = DateTime::UNIX_EPOCH;
        let (mut failures, mut since, mut now) = (0, None, start);
        let mut waits = Vec::new();
        loop {
            let series = FailureSeries::after_failure(failures, since, Some(500), now);
            assert_eq!(series.since, start);
            if series.switches_off {
                break;
            }
            waits.push((series.due_at - now).num_minutes());
            (failures, since, now) = (series.failures, Some(series.since), series.due_at);
        }
        assert_eq!(waits[..5], [1, 5, 15, 60, 60]);
        assert!(now - start >= SWITCH_OFF_AFTER);
        assert!(now - start < SWITCH_OFF_AFTER + TimeDelta::hours(1));
    }

    #[test]
    fn a_receiver_that_is_gone_is_switched_off_at_once() {
        let now = DateTime::UNIX_EPOCH;
        for (status, switches_off) in [(Some(410), true), (Some(404), false), (None, false)] {
            let series = FailureSeries::after_failure(0, None, status, now);
            assert_eq!(series.switches_off, switches_off, "{status:?}");
        }
    }
}
