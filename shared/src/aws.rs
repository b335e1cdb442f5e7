//! Requests of AWS's services over HTTP, signed (Signature Version 4). Owns: whose account it is, and the form of a
//! signed request. Does not own: what a service is asked for, and sending the request. The services with an SDK here sign
//! their own.

use std::fmt;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use hyper::http::Request;

/// Who makes requests, and where.
#[derive(Clone)]
pub struct AwsAccount {
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Only temporary credentials have one, such as those of a function.
    pub session_token: Option<String>,
    /// Replaces the region's endpoint.
    pub endpoint: Option<String>,
}

/// Shows neither the credentials nor the endpoint.
impl fmt::Debug for AwsAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsAccount")
    }
}

/// A service of AWS.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The first label of its host name.
    pub host: &'static str,
    pub signing_name: &'static str,
}

impl AwsAccount {
    fn url(&self, service: Service, path: &str) -> String {
        if let Some(endpoint) = &self.endpoint {
            return format!("{}{path}", endpoint.trim_end_matches('/'));
        }
        let (host, region) = (service.host, &self.region);
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://{host}.{region}.amazonaws.com{suffix}{path}")
    }

    /// A signed POST of this body. `None` if a setting does not fit into a request.
    #[must_use]
    pub fn post(
        &self,
        service: Service,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: String,
        now: SystemTime,
    ) -> Option<Request<String>> {
        let url = self.url(service, path);
        let identity = Credentials::new(
            &self.access_key_id,
            &self.secret_access_key,
            self.session_token.clone(),
            None,
            "environment",
        )
        .into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service.signing_name)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        let signed_body = SignableBody::Bytes(body.as_bytes());
        let signed_headers = headers.iter().copied();
        let request = SignableRequest::new("POST", &url, signed_headers, signed_body).ok()?;
        let (signature, _) = sign(request, &parameters).ok()?.into_parts();
        let mut request = Request::post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body).ok()?;
        signature.apply_to_request_http1x(&mut request);
        Some(request)
    }
}

/// The name of an error in what a service says its kind is, such as `com.amazonaws#ThrottlingException`. `None` for any
/// other text, which is not shown.
#[must_use]
pub fn error_name(kind: &str) -> Option<String> {
    let name = kind.rsplit('#').next()?;
    let name = name.split(':').next()?;
    let is_name =
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SERVICE: Service = Service {
        host: "secretsmanager",
        signing_name: "secretsmanager",
    };

    fn account() -> AwsAccount {
        AwsAccount {
            region: "eu-central-1".to_owned(),
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "word".to_owned(),
            session_token: Some("token".to_owned()),
            endpoint: None,
        }
    }

    #[test]
    fn debug_shows_no_credentials() {
        assert_eq!(format!("{:?}", account()), "AwsAccount");
    }

    #[test]
    fn a_request_is_signed_for_the_region_and_the_service() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(492_312);
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "secretsmanager.GetSecretValue"),
        ];
        let body = r#"{"SecretId":"arn:1"}"#.to_owned();
        let request = account().post(SERVICE, "/", &headers, body.clone(), now);
        let request = request.expect("a request");
        assert_eq!(
            request.uri().to_string(),
            "https://secretsmanager.eu-central-1.amazonaws.com/"
        );
        assert_eq!(*request.body(), body);
        let header = |name: &str| request.headers()[name].to_str().expect("a text");
        assert_eq!(header("x-amz-date"), "20260301T000000Z");
        assert_eq!(header("x-amz-security-token"), "token");
        let (signed, signature) = header("authorization")
            .split_once(", Signature=")
            .expect("a signature");
        assert_eq!(
            signed,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260301/eu-central-1/secretsmanager/aws4_request, \
            SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
        );
        assert_eq!(signature.len(), 64);
        let china = AwsAccount {
            region: "cn-north-1".to_owned(),
            ..account()
        };
        assert_eq!(
            china.url(SERVICE, "/v2"),
            "https://secretsmanager.cn-north-1.amazonaws.com.cn/v2"
        );
    }

    #[test]
    fn only_names_of_errors_are_shown() {
        for (kind, name) in [
            (
                "com.amazonaws#AccessDeniedException",
                Some("AccessDeniedException"),
            ),
            (
                "MessageRejected:http://internal.amazon.com/",
                Some("MessageRejected"),
            ),
            ("the secret is word", None),
            ("", None),
        ] {
            assert_eq!(error_name(kind).as_deref(), name, "{kind}");
        }
    }
}
