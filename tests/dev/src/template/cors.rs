//! Parses the `CorsConfiguration` of the API.

use anyhow::{Context, Result};
use serde_norway::Value;

use super::check_keys;
use super::value::{Scope, scalar};

/// The other origins that may call the API, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// `*` allows every origin.
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    /// Headers that requests may have.
    pub headers: Vec<String>,
    /// Response headers that scripts may read.
    pub exposed: Vec<String>,
    /// Whether browsers may send cookies.
    pub credentials: bool,
    /// How long the answer to a preflight is valid, in seconds.
    pub max_age: Option<u64>,
}

/// Parses the configuration of an `AWS::Serverless::HttpApi`; `None` if it has none.
pub(super) fn read(properties: &Value, scope: &Scope) -> Result<Option<Cors>> {
    let configuration = &properties["CorsConfiguration"];
    if configuration.is_null() {
        return Ok(None);
    }
    let mapping = configuration
        .as_mapping()
        .context("CorsConfiguration must be a mapping")?;
    check_keys(
        mapping,
        &[
            "AllowCredentials",
            "AllowHeaders",
            "AllowMethods",
            "AllowOrigins",
            "ExposeHeaders",
            "MaxAge",
        ],
    )?;
    let list = |key: &str| match mapping.get(key) {
        None => Ok(Vec::new()),
        Some(value) => scope
            .list(value)
            .with_context(|| format!("{key} is not a list")),
    };
    let single = |key: &str| mapping.get(key).and_then(scalar);
    Ok(Some(Cors {
        origins: list("AllowOrigins")?,
        methods: list("AllowMethods")?,
        headers: list("AllowHeaders")?,
        exposed: list("ExposeHeaders")?,
        credentials: single("AllowCredentials").as_deref() == Some("true"),
        max_age: single("MaxAge")
            .map(|seconds| seconds.parse().context("MaxAge is not a number"))
            .transpose()?,
    }))
}
