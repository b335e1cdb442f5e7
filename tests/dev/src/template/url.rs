//! Parses the URL of a function.
//!
//! A function URL has no path of its own. In a deployment, whatever stands in front of it adds one;
//! `Metadata: {Route: "POST /path/{parameter}"}` beside the function's properties names that path.

use anyhow::{Context, Result, bail};
use serde_norway::Value;

use super::{Route, check_keys};

/// The keys that SAM knows in a `FunctionUrlConfig`.
const FUNCTION_URL_KEYS: &[&str] = &["AuthType", "Cors", "InvokeMode"];

/// The route to the URL of a function resource; `None` if it has no URL.
pub(super) fn read(resource: &Value) -> Result<Option<Route>> {
    let route = &resource["Metadata"]["Route"];
    let Some(url) = resource["Properties"]["FunctionUrlConfig"].as_mapping() else {
        if !route.is_null() {
            bail!("Metadata has a Route, but there is no FunctionUrlConfig");
        }
        return Ok(None);
    };
    check_keys(url, FUNCTION_URL_KEYS).context("in FunctionUrlConfig")?;
    if url.get("InvokeMode").and_then(Value::as_str) != Some("RESPONSE_STREAM") {
        bail!(
            "FunctionUrlConfig must have InvokeMode: RESPONSE_STREAM; other routes belong to the API"
        );
    }
    let (method, path) = route
        .as_str()
        .and_then(|route| route.split_once(' '))
        .filter(|(method, path)| !method.is_empty() && path.starts_with('/'))
        .context("a FunctionUrlConfig needs Metadata: {Route: \"METHOD /path\"}")?;
    Ok(Some(Route {
        method: method.to_uppercase(),
        path: path.to_owned(),
        is_streamed: true,
    }))
}
