//! Answers as text, so that a test shows what a client sees. `UPDATE_EXPECT=1 cargo test` writes the
//! texts anew.

use std::sync::LazyLock;

use expect_test::Expect;
use regex::{Captures, Regex};

use crate::suite::Response;

static CHANGING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}|[A-Za-z0-9_-]{43}",
    )
    .expect("a pattern")
});

/// Compares status, content type and body with a text. Ids and secrets become numbers in order of
/// appearance.
///
/// # Panics
/// When they differ.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is written in place at the call"
)]
pub fn check(response: &Response, expected: Expect) {
    expected.assert_eq(&shown(response));
}

/// The text of an answer.
#[must_use]
pub fn shown(response: &Response) -> String {
    let kind = response.header("content-type").unwrap_or("no body");
    let body = response.json();
    let body = match body {
        serde_json::Value::Null => response.text().to_owned(),
        body => serde_json::to_string_pretty(&body).expect("JSON"),
    };
    let text = format!("{} {kind}\n{body}\n", response.status());
    let mut seen: Vec<String> = Vec::new();
    let text = CHANGING.replace_all(&text, |found: &Captures<'_>| {
        let found = &found[0];
        let at = seen
            .iter()
            .position(|known| known == found)
            .unwrap_or_else(|| {
                seen.push(found.to_owned());
                seen.len() - 1
            });
        format!("<{}>", at + 1)
    });
    text.into_owned()
}
