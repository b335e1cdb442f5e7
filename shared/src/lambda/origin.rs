//! Whether a request came through what stands in front of the API. Owns: the header that proves it.

use std::fmt;

use lambda_http::http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use super::environment::{ConfigError, var};
use super::stored::{ORIGIN_SECRET, ORIGIN_SECRET_OTHER};

/// CloudFront adds it to every request, instead of one that a caller may have sent.
const HEADER: &str = "x-origin-secret";
const MIN_BYTES: usize = 32;

/// The values of the header that are accepted. None if everybody may call the function directly.
pub(super) struct OriginSecrets(Vec<String>);

/// Shows no secret.
impl fmt::Debug for OriginSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OriginSecrets")
    }
}

impl OriginSecrets {
    /// `ORIGIN_SECRET`, and while it is rotated `ORIGIN_SECRET_OTHER`: at least 32 bytes each. A secret that is named but
    /// missing is an error, because without one every request would be accepted.
    pub(super) fn from_settings() -> Result<Self, ConfigError> {
        let secret = var(ORIGIN_SECRET.name)?;
        if secret.is_none() && var(ORIGIN_SECRET.arn)?.is_some() {
            let problem = "names a secret that does not hold the setting";
            return Err(ConfigError::new(ORIGIN_SECRET.arn, problem));
        }
        let other = var(ORIGIN_SECRET_OTHER.name)?;
        let secrets: Vec<String> = secret.into_iter().chain(other).collect();
        if secrets.iter().any(|secret| secret.len() < MIN_BYTES) {
            let problem = "is shorter than 32 bytes";
            return Err(ConfigError::new(ORIGIN_SECRET.name, problem));
        }
        Ok(Self(secrets))
    }

    /// Whether the request may be handled. Removes the header, so that nothing passes it on.
    pub(super) fn admits(&self, headers: &mut HeaderMap) -> bool {
        let header = headers.remove(HEADER);
        let sent = header
            .as_ref()
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let is_sent = |secret: &String| bool::from(secret.as_bytes().ct_eq(sent));
        self.0.is_empty() || self.0.iter().any(is_sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(sent: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(value) = sent {
            headers.insert(HEADER, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_the_secrets_are_admitted_and_the_header_is_removed() {
        let secrets = OriginSecrets(vec!["first".to_owned(), "second".to_owned()]);
        for (sent, is_admitted) in [
            (Some("first"), true),
            (Some("second"), true),
            (Some("firs"), false),
            (Some("first,second"), false),
            (Some(""), false),
            (None, false),
        ] {
            let mut headers = headers(sent);
            assert_eq!(secrets.admits(&mut headers), is_admitted, "{sent:?}");
            assert!(headers.is_empty(), "{sent:?}");
        }
        assert!(OriginSecrets(Vec::new()).admits(&mut headers(None)));
        assert_eq!(format!("{secrets:?}"), "OriginSecrets");
    }
}
