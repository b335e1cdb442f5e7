//! A function's own URL.
//!
//! Such a URL has no path of its own. What stands in front of it once deployed gives it one, and
//! `Metadata: {Route: "POST /path/{parameter}"}` beside the function's properties says which.

use anyhow::{Context, Result, bail};
use serde_norway::Value;

use super::{Route, known};

/// All keys SAM knows in a `FunctionUrlConfig`.
const URL: &[&str] = &["AuthType", "Cors", "InvokeMode"];

/// The route to the URL of a function resource; none when it has no URL.
pub(super) fn read(resource: &Value) -> Result<Option<Route>> {
    let route = &resource["Metadata"]["Route"];
    let Some(url) = resource["Properties"]["FunctionUrlConfig"].as_mapping() else {
        if !route.is_null() {
            bail!("Metadata has a Route, but there is no FunctionUrlConfig");
        }
        return Ok(None);
    };
    known(url, URL).context("in FunctionUrlConfig")?;
    if url.get("InvokeMode").and_then(Value::as_str) != Some("RESPONSE_STREAM") {
        bail!("FunctionUrlConfig wants InvokeMode: RESPONSE_STREAM; other routes are the API's");
    }
    let (method, path) = route
        .as_str()
        .and_then(|route| route.split_once(' '))
        .filter(|(method, path)| !method.is_empty() && path.starts_with('/'))
        .context("a FunctionUrlConfig wants Metadata: {Route: \"METHOD /path\"}")?;
    Ok(Some(Route {
        method: method.to_uppercase(),
        path: path.to_owned(),
        is_streamed: true,
    }))
}
