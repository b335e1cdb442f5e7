//! Requests of AWS's services over HTTP, signed (Signature Version 4). Owns: whose account it is, and the form of a
//! signed request. Does not own: what a service is asked for, and sending the request. The services with an SDK here sign
//! their own.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningInstructions, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
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
        let signed_body = SignableBody::Bytes(body.as_bytes());
        let signed_headers = headers.iter().copied();
        let request = SignableRequest::new("POST", &url, signed_headers, signed_body).ok()?;
        let settings = SigningSettings::default();
        let signature = self.signature(service.signing_name, settings, request, now)?;
        let mut request = Request::post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body).ok()?;
        signature.apply_to_request_http1x(&mut request);
        Some(request)
    }

    /// The address of an object in a bucket.
    #[must_use]
    pub fn object_url(&self, bucket: &str, key: &str) -> String {
        if let Some(endpoint) = &self.endpoint {
            return format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/'));
        }
        let region = &self.region;
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://{bucket}.s3.{region}.amazonaws.com{suffix}/{key}")
    }

    /// A signed request of S3. `None` if a setting does not fit into a request.
    #[must_use]
    pub fn object_request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&'static str, &'static str)],
        body: Bytes,
        now: SystemTime,
    ) -> Option<Request<Bytes>> {
        let mut settings = s3_settings();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let signed_headers = headers.iter().copied();
        let signed_body = SignableBody::Bytes(&body);
        let request = SignableRequest::new(method, url, signed_headers, signed_body).ok()?;
        let signature = self.signature(S3, settings, request, now)?;
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body).ok()?;
        signature.apply_to_request_http1x(&mut request);
        Some(request)
    }

    /// An address at which anybody who has it can read an object of S3 until `lifetime` is over. `None` if a setting does
    /// not fit into an address.
    #[must_use]
    pub fn presigned_url(&self, url: &str, lifetime: Duration, now: SystemTime) -> Option<String> {
        let mut settings = s3_settings();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(lifetime);
        let body = SignableBody::UnsignedPayload;
        let request = SignableRequest::new("GET", url, std::iter::empty(), body).ok()?;
        let signature = self.signature(S3, settings, request, now)?;
        let mut request = Request::get(url).body(()).ok()?;
        signature.apply_to_request_http1x(&mut request);
        Some(request.uri().to_string())
    }

    fn signature(
        &self,
        signing_name: &str,
        settings: SigningSettings,
        request: SignableRequest<'_>,
        now: SystemTime,
    ) -> Option<SigningInstructions> {
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
            .name(signing_name)
            .time(now)
            .settings(settings)
            .build()
            .ok()?
            .into();
        let (signature, _) = sign(request, &parameters).ok()?.into_parts();
        Some(signature)
    }
}

const S3: &str = "s3";

/// S3 takes paths as they are.
fn s3_settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
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
    fn an_object_is_requested_from_its_bucket_with_the_hash_of_the_body() {
        let account = account();
        let url = account.object_url("backups", "a/b");
        assert_eq!(url, "https://backups.s3.eu-central-1.amazonaws.com/a/b");
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(492_312);
        let headers = [("content-type", "application/json")];
        let request = account.object_request("PUT", &url, &headers, Bytes::from("{}"), now);
        let request = request.expect("a request");
        let header = |name: &str| request.headers()[name].to_str().expect("a text");
        assert_eq!(
            header("x-amz-content-sha256"),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        let (signed, _) = header("authorization")
            .split_once(", Signature=")
            .expect("a signature");
        assert_eq!(
            signed,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260301/eu-central-1/s3/aws4_request, \
            SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
        );
        let local = AwsAccount {
            endpoint: Some("http://127.0.0.1:9/".to_owned()),
            ..account
        };
        assert_eq!(
            local.object_url("backups", "a"),
            "http://127.0.0.1:9/backups/a"
        );
    }

    #[test]
    fn a_presigned_address_holds_its_lifetime_and_a_signature() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(492_312);
        let account = account();
        let url = format!("{}?response-content-type=x", account.object_url("b", "k"));
        let presigned = account.presigned_url(&url, Duration::from_mins(5), now);
        let presigned = presigned.expect("an address");
        for part in [
            "https://b.s3.eu-central-1.amazonaws.com/k?",
            "response-content-type=x",
            "X-Amz-Expires=300",
            "X-Amz-Security-Token=token",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Signature=",
        ] {
            assert!(presigned.contains(part), "{part} is not in {presigned}");
        }
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
