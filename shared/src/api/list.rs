//! Lists: `limit`, `cursor`, `ETag` and 304. Owns: their form on the wire.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::json;
use super::problem::Problem;
use crate::db::billing::ledger::Position;

/// Entries of a page, when the client asks for none in particular and at most.
pub const PAGE: i64 = 200;

/// One query parameter.
#[must_use]
pub fn parameter(request: &Request, name: &str) -> Option<String> {
    request
        .query_string_parameters_ref()?
        .first(name)
        .map(str::to_owned)
}

/// `limit`: 1 to [`PAGE`].
///
/// # Errors
/// 400.
pub fn limit(request: &Request) -> Result<i64, Problem> {
    let Some(text) = parameter(request, "limit") else {
        return Ok(PAGE);
    };
    let limit = text.parse().ok().filter(|limit| (1..=PAGE).contains(limit));
    limit.ok_or_else(|| Problem::field("limit", "must be a number from 1 to 200"))
}

/// A UUID parameter.
///
/// # Errors
/// 400.
pub fn uuid(request: &Request, name: &'static str) -> Result<Option<Uuid>, Problem> {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| Problem::field(name, "must be a UUID"))
    };
    parameter(request, name).map(parse).transpose()
}

/// `cursor`: where the page before ended.
///
/// # Errors
/// 400.
pub fn cursor(request: &Request) -> Result<Option<Position>, Problem> {
    let Some(text) = parameter(request, "cursor") else {
        return Ok(None);
    };
    decode(&text)
        .map(Some)
        .ok_or_else(|| Problem::field("cursor", "is not one that this list gave"))
}

/// The cursor of a page that ends at this position.
#[must_use]
pub fn encode(position: &Position) -> String {
    let seq = position.seq.map_or_else(String::new, |seq| seq.to_string());
    let text = format!(
        "{}.{seq}.{}",
        position.created_at.timestamp_micros(),
        position.id
    );
    URL_SAFE_NO_PAD.encode(text)
}

fn decode(text: &str) -> Option<Position> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = text.splitn(3, '.');
    let created_at: DateTime<Utc> = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
    let seq = match parts.next()? {
        "" => None,
        seq => Some(seq.parse().ok()?),
    };
    Some(Position {
        created_at,
        seq,
        id: parts.next()?.parse().ok()?,
    })
}

/// Cuts what was read, one entry more than asked for, down to the page; the cursor is none on the last
/// one.
#[must_use]
pub fn cut<T>(
    entries: Vec<T>,
    limit: i64,
    position: impl Fn(&T) -> Position,
) -> (Vec<T>, Option<String>) {
    cut_by(entries, limit, |entry| encode(&position(entry)))
}

/// The same for a list whose cursors are made by `cursor`.
#[must_use]
pub fn cut_by<T>(
    mut entries: Vec<T>,
    limit: i64,
    cursor: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let keep = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > keep;
    entries.truncate(keep);
    let next = entries.last().filter(|_| more).map(cursor);
    (entries, next)
}

/// The cursor of a page that ends at this name, in a list that is sorted by names.
#[must_use]
pub fn encode_name(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// `cursor` of such a list.
///
/// # Errors
/// 400.
pub fn name_cursor(request: &Request) -> Result<Option<String>, Problem> {
    let Some(text) = parameter(request, "cursor") else {
        return Ok(None);
    };
    let name = URL_SAFE_NO_PAD.decode(text).ok();
    let name = name.and_then(|name| String::from_utf8(name).ok());
    name.filter(|name| !name.is_empty() && !name.contains('\0'))
        .map(Some)
        .ok_or_else(|| Problem::field("cursor", "is not one that this list gave"))
}

/// The list as an answer: 304 when the client has this very one.
///
/// # Errors
/// A 500 problem when the body has no JSON form.
pub fn answer(request: &Request, body: &impl Serialize) -> Result<Response<Body>, Problem> {
    let mut response = json::ok(body)?;
    let Body::Text(text) = response.body() else {
        return Ok(response);
    };
    let digest = Sha256::digest(text);
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16]));
    if is_known(request, &tag) {
        *response.status_mut() = lambda_http::http::StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::Empty;
        response.headers_mut().remove("content-type");
    }
    let headers = response.headers_mut();
    headers.insert(
        "cache-control",
        lambda_http::http::HeaderValue::from_static("private, no-cache"),
    );
    headers.insert("etag", tag.parse().map_err(|_| Problem::internal())?);
    Ok(response)
}

/// Whether the client has what bears this tag, by `If-None-Match`.
#[must_use]
pub fn is_known(request: &Request, tag: &str) -> bool {
    let tag = tag.trim_start_matches("W/");
    let known = request
        .headers()
        .get("if-none-match")
        .and_then(|value| value.to_str().ok());
    known.is_some_and(|tags| {
        tags.split(',')
            .map(|known| known.trim().trim_start_matches("W/"))
            .any(|known| known == tag || known == "*")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for seq in [None, Some(0), Some(i64::MAX)] {
            let created_at =
                DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time");
            let position = Position {
                created_at,
                seq,
                id: Uuid::from_u128(7),
            };
            assert_eq!(decode(&encode(&position)), Some(position));
        }
        for text in ["", "x", "AAAA", "MTIz"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
