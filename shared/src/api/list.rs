//! Lists: `limit`, `cursor`, `ETag` and 304. Owns: the form of these on the wire.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::encoding;
use super::problem::{Problem, log_internal};
use super::response;
use super::schema::{Cursor, Succeeded};
use crate::db::page::PagePosition;
use crate::domain::history::Period;

/// The entries of a page, unless the client asks for fewer.
pub const MAX_PAGE: i64 = 200;

#[must_use]
pub fn parameter(request: &Request, name: &str) -> Option<String> {
    request
        .query_string_parameters_ref()?
        .first(name)
        .map(str::to_owned)
}

/// `limit`: 1 to [`MAX_PAGE`], which is also the default.
///
/// # Errors
/// 400.
pub fn limit(request: &Request) -> Result<i64, Problem> {
    let Some(text) = parameter(request, "limit") else {
        return Ok(MAX_PAGE);
    };
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_PAGE).contains(limit));
    limit.ok_or_else(|| Problem::field("limit", "must be a number from 1 to 200"))
}

/// A query parameter that is a UUID.
///
/// # Errors
/// 400.
pub fn identifier<T: FromStr>(request: &Request, name: &'static str) -> Result<Option<T>, Problem> {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| Problem::field(name, "must be a UUID"))
    };
    parameter(request, name).map(parse).transpose()
}

/// `cursor`: where the previous page ended.
///
/// # Errors
/// 400.
pub fn cursor(request: &Request) -> Result<Option<PagePosition>, Problem> {
    let Some(text) = parameter(request, "cursor") else {
        return Ok(None);
    };
    decode(&text)
        .map(Some)
        .ok_or_else(|| Problem::field("cursor", "is not valid; start again without it"))
}

/// The cursor of a page that ends at this position.
#[must_use]
pub fn encode(position: &PagePosition) -> String {
    let micros = position.created_at.timestamp_micros();
    encode_text(&format!("{micros}.{}", position.id))
}

fn decode(text: &str) -> Option<PagePosition> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (micros, id) = text.split_once('.')?;
    Some(PagePosition {
        created_at: cursor_time(micros)?,
        id: id.parse().ok()?,
    })
}

/// A time in a cursor, in microseconds since 1970. `None` if it is not in the years that the API can show: chrono knows
/// more years than Postgres.
#[must_use]
pub fn cursor_time(micros: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
    let ever = Period::ever();
    (ever.from <= time && time <= ever.to).then_some(time)
}

/// Cuts the entries down to one page and makes the cursor of the next. Takes one entry more than the page
/// holds: without it, this is the last page and the cursor is `None`.
#[must_use]
pub fn cut<T>(
    entries: Vec<T>,
    limit: i64,
    position: impl Fn(&T) -> PagePosition,
) -> (Vec<T>, Option<String>) {
    cut_by(entries, limit, |entry| encode(&position(entry)))
}

/// The same for a list with another kind of cursor, which `cursor` makes.
#[must_use]
pub fn cut_by<T>(
    mut entries: Vec<T>,
    limit: i64,
    cursor: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let page_size = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_last_page = entries.len() <= page_size;
    entries.truncate(page_size);
    let last = entries.last().filter(|_| !is_last_page);
    let next_cursor = last.map(cursor);
    (entries, next_cursor)
}

/// A cursor that carries a text.
#[must_use]
pub fn encode_text(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// `cursor` of a list whose cursors carry a text, which `parse` reads.
///
/// # Errors
/// 400.
pub fn text_cursor<T>(
    request: &Request,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = parameter(request, "cursor") else {
        return Ok(None);
    };
    let text = URL_SAFE_NO_PAD.decode(text).ok();
    let text = text.and_then(|text| String::from_utf8(text).ok());
    text.and_then(|text| parse(&text))
        .map(Some)
        .ok_or_else(|| Problem::field("cursor", "is not valid; start again without it"))
}

/// The cursor of a page that ends at this name, for lists that are sorted by name.
#[must_use]
pub fn encode_name(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// `cursor` in a list that is sorted by name.
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
        .ok_or_else(|| Problem::field("cursor", "is not valid; start again without it"))
}

/// The entries of one page.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Entries<T>(#[schemars(length(max = MAX_PAGE))] pub Vec<T>);

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Page<T> {
    success: Succeeded,
    data: T,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Cursor")]
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub fn new(data: T, next_cursor: Option<String>) -> Self {
        Self {
            success: Succeeded,
            data,
            next_cursor,
        }
    }
}

/// A 200 with an `ETag`, or 304 if the client already has this body.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn respond(request: &Request, body: &impl Serialize) -> Result<Response<Body>, Problem> {
    tagged(request, response::with_status(200, body)?)
}

/// The same for a body of which a part may be out of date in the client's copy: `version` is the rest of it.
///
/// # Errors
/// 500 if the body has no JSON form.
pub fn respond_versioned(
    request: &Request,
    body: &impl Serialize,
    version: &impl Serialize,
) -> Result<Response<Body>, Problem> {
    let version = serde_json::to_vec(version).map_err(log_internal("response has no JSON form"))?;
    // Weak: bodies of the same version may differ.
    let tag = format!("W/{}", tag_of(&version));
    with_tag(request, response::with_status(200, body)?, tag)
}

/// The response with the `ETag` of its text, or 304 if the client already has it.
///
/// # Errors
/// 500 if the header cannot be set.
pub fn tagged(request: &Request, response: Response<Body>) -> Result<Response<Body>, Problem> {
    let Body::Text(text) = response.body() else {
        return Ok(response);
    };
    let tag = tag_of(text.as_bytes());
    with_tag(request, response, tag)
}

fn tag_of(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16]))
}

fn with_tag(
    request: &Request,
    mut response: Response<Body>,
    mut tag: String,
) -> Result<Response<Body>, Problem> {
    if is_known(request, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::Empty;
        response.headers_mut().remove("content-type");
    } else if encoding::compress(request, &mut response)? && !tag.starts_with("W/") {
        // The same for the plain and the compressed form.
        tag.insert_str(0, "W/");
    }
    let headers = response.headers_mut();
    headers.insert(
        "cache-control",
        HeaderValue::from_static("private, no-cache"),
    );
    headers.insert("vary", HeaderValue::from_static("Accept-Encoding"));
    headers.insert("etag", tag.parse().map_err(log_internal("ETag not set"))?);
    Ok(response)
}

/// Whether `If-None-Match` names this tag: the client already has the body.
#[must_use]
pub fn is_known(request: &Request, tag: &str) -> bool {
    let tag = tag.trim_start_matches("W/");
    let header = request.headers().get("if-none-match");
    let known_tags = header.and_then(|value| value.to_str().ok());
    known_tags.is_some_and(|known_tags| {
        known_tags
            .split(',')
            .map(|known| known.trim().trim_start_matches("W/"))
            .any(|known| known == tag || known == "*")
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn decoding_reverses_encoding_of_cursors() {
        let position = PagePosition {
            created_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time"),
            id: Uuid::from_u128(7),
        };
        assert_eq!(decode(&encode(&position)), Some(position));
        for text in ["", "x", "AAAA", "MTIz"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn times_in_cursors_are_of_the_years_that_the_api_can_show() {
        for (text, is_valid) in [
            ("0", true),
            ("1700000000123456", true),
            // The years 1900 and 10000 begin.
            ("-2208988800000000", true),
            ("-2208988800000001", false),
            ("253402300800000000", true),
            ("253402300800000001", false),
            // The year -7537.
            ("-300000000000000000", false),
            ("9223372036854775807", false),
            ("9223372036854775808", false),
            ("", false),
            ("1.5", false),
        ] {
            assert_eq!(cursor_time(text).is_some(), is_valid, "{text}");
        }
    }
}
