//! Converts an HTTP request to an API Gateway HTTP API event with payload format 2.0.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

/// An HTTP request as received.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// Still percent-encoded.
    pub path: String,
    /// The part after the question mark, still encoded; empty if there is none.
    pub query: String,
    /// In order of arrival; names can repeat.
    pub headers: Vec<(String, String)>,
    /// Empty if there is none.
    pub body: Vec<u8>,
    pub source_ip: String,
}

/// Builds the event for a request that matched the route `key` (`GET /agents/{agentId}` or
/// `$default`) with these decoded path parameters.
#[must_use]
pub fn build(request: &Request, key: &str, parameters: &BTreeMap<String, String>) -> Value {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in &request.headers {
        let name = name.to_lowercase();
        if name == "cookie" {
            cookies.extend(value.split(';').map(|cookie| cookie.trim().to_owned()));
        } else {
            join(&mut headers, name, value);
        }
    }
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let now = Utc::now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": header("host").split(':').next().unwrap_or_default(),
            "domainPrefix": "local",
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": header("user-agent"),
            },
            "requestId": Uuid::new_v4().to_string(),
            "routeKey": key,
            "stage": "$default",
            "time": now.format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.timestamp_millis(),
        },
        "isBase64Encoded": false,
    });
    // API Gateway leaves these out rather than send them empty.
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !request.query.is_empty() {
        event["queryStringParameters"] = json!(query_parameters(&request.query));
    }
    if !parameters.is_empty() {
        event["pathParameters"] = json!(parameters);
    }
    if !request.body.is_empty() {
        let text = is_text(&header("content-type"))
            .then(|| std::str::from_utf8(&request.body).ok())
            .flatten();
        event["isBase64Encoded"] = json!(text.is_none());
        event["body"] = match text {
            Some(text) => json!(text),
            None => json!(STANDARD.encode(&request.body)),
        };
    }
    event
}

/// Percent-decodes text and replaces invalid UTF-8.
#[must_use]
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| hex::decode(digits).ok());
        if let Some(escaped) = escaped {
            bytes.extend(escaped);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| decoded(&text.replace('+', " "));
        join(&mut parameters, plain(name), &plain(value));
    }
    parameters
}

/// Joins the values of a repeated name with commas.
fn join(map: &mut BTreeMap<String, String>, name: String, value: &str) {
    map.entry(name)
        .and_modify(|joined| {
            joined.push(',');
            joined.push_str(value);
        })
        .or_insert_with(|| value.to_owned());
}

/// Whether API Gateway passes a body of this content type as text; all others arrive in base64.
fn is_text(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    media_type.is_empty()
        || media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || matches!(
            media_type.as_str(),
            "application/json" | "application/xml" | "application/javascript"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            method: "POST".to_owned(),
            path: "/agents/a%20b".to_owned(),
            query: "tag=a&tag=b%2Cc&q=x+y&flag".to_owned(),
            headers: [
                ("Host", "localhost:8787"),
                ("User-Agent", "test"),
                ("X-Twice", "1"),
                ("x-twice", "2"),
                ("Cookie", "a=1; b=2"),
                ("Content-Type", "application/json; charset=utf-8"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            body: b"{}".to_vec(),
            source_ip: "127.0.0.1".to_owned(),
        }
    }

    #[test]
    fn request_becomes_a_payload_2_event() {
        let parameters = BTreeMap::from([("agentId".to_owned(), decoded("a%20b"))]);
        let event = build(&request(), "POST /agents/{agentId}", &parameters);
        assert_eq!(event["version"], "2.0");
        assert_eq!(event["routeKey"], "POST /agents/{agentId}");
        assert_eq!(event["rawPath"], "/agents/a%20b");
        assert_eq!(event["rawQueryString"], "tag=a&tag=b%2Cc&q=x+y&flag");
        assert_eq!(event["pathParameters"]["agentId"], "a b");
        assert_eq!(
            event["queryStringParameters"],
            json!({"tag": "a,b,c", "q": "x y", "flag": ""})
        );
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["headers"]["x-twice"], "1,2");
        assert!(event["headers"].get("cookie").is_none());
        assert_eq!(event["requestContext"]["http"]["userAgent"], "test");
        assert_eq!(event["requestContext"]["domainName"], "localhost");
        assert_eq!(event["requestContext"]["stage"], "$default");
        assert_eq!(event["body"], "{}");
        assert_eq!(event["isBase64Encoded"], false);
    }

    #[test]
    fn binary_bodies_are_base64_encoded() {
        for (kind, body) in [
            ("application/json", &b"\xff"[..]),
            ("application/octet-stream", b"abc"),
            ("application/x-www-form-urlencoded", b"a=b"),
        ] {
            let request = Request {
                headers: vec![("content-type".to_owned(), kind.to_owned())],
                body: body.to_vec(),
                ..request()
            };
            let event = build(&request, "$default", &BTreeMap::new());
            assert_eq!(event["isBase64Encoded"], true, "{kind}");
            assert_eq!(event["body"], STANDARD.encode(body), "{kind}");
        }
    }

    #[test]
    fn absent_parts_are_left_out() {
        let event = build(&Request::default(), "$default", &BTreeMap::new());
        for key in ["body", "cookies", "queryStringParameters", "pathParameters"] {
            assert!(event.get(key).is_none(), "{key}");
        }
    }

    #[test]
    fn invalid_escapes_are_kept() {
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%41"), "%zzA");
        assert_eq!(decoded("%C3%A9"), "é");
    }
}
