//! Compares answers as text, so that a test shows what a client sees. `UPDATE_EXPECT=1 cargo test`
//! rewrites the expected texts.

use std::sync::LazyLock;

use expect_test::Expect;
use regex::{Captures, Regex};

use crate::suite::Response;

static IDS_AND_SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}|[A-Za-z0-9_-]{43}",
    )
    .expect("a pattern")
});

/// Compares status, content type and body with the expected text. Ids and secrets are replaced by
/// numbers in order of appearance.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the expected text in place"
)]
pub fn check(response: &Response, expected: Expect) {
    expected.assert_eq(&response_text(response));
}

/// The text of an answer, as [`check`] compares it.
#[must_use]
pub fn response_text(response: &Response) -> String {
    let content_type = response.header("content-type").unwrap_or("no body");
    let body = response.json();
    let body = match body {
        serde_json::Value::Null => response.text().to_owned(),
        body => serde_json::to_string_pretty(&body).expect("JSON"),
    };
    let text = format!("{} {content_type}\n{body}\n", response.status());
    let mut ids: Vec<String> = Vec::new();
    let text = IDS_AND_SECRETS.replace_all(&text, |captures: &Captures<'_>| {
        let id = &captures[0];
        let index = ids.iter().position(|known| known == id).unwrap_or_else(|| {
            ids.push(id.to_owned());
            ids.len() - 1
        });
        format!("<{}>", index + 1)
    });
    text.into_owned()
}
