//! Parses `functions/edge.yaml`: the rules by which AWS WAF refuses floods in front of CloudFront.

use std::fs;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_norway::Value;

use super::check_keys;
use super::value::{Scope, entries, scalar};
use crate::build;

/// The keys of a `RateBasedStatement`, as far as the template uses them.
const RATE_BASED_STATEMENT: &[&str] = &[
    "AggregateKeyType",
    "CustomKeys",
    "EvaluationWindowSec",
    "Limit",
];

/// What stands in front of the gateway: nothing, unless there are rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// In the order in which they see a request. The first one that refuses it answers.
    pub rules: Vec<EdgeRule>,
}

/// Limits the requests that have the same [`EdgeKey`]. It does not count those without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeRule {
    pub name: String,
    pub key: EdgeKey,
    /// How many requests pass within a window.
    pub limit: u64,
    pub window: Duration,
    pub refusal: EdgeRefusal,
}

/// What a rule counts requests by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeKey {
    /// The header of this name, in lower case.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
    /// The client's IP address.
    Address,
}

/// The answer to a request above the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeRefusal {
    pub status: u16,
    /// The content type included.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Edge {
    /// The rules of `functions/edge.yaml`, with these values of its parameters and the defaults of the others.
    pub fn load(parameters: &[(&str, i32)]) -> Result<Self> {
        let path = build::workspace().join("functions/edge.yaml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text, parameters).with_context(|| format!("in {}", path.display()))
    }

    /// Parses the rules of all web ACLs of a template. Errors name the rule.
    pub fn parse(text: &str, parameters: &[(&str, i32)]) -> Result<Self> {
        let document: Value = serde_norway::from_str(text).context("the file is not YAML")?;
        let mut scope = Scope::new(&document)?;
        for (name, value) in parameters {
            scope.set_parameter(&document, name, value.to_string())?;
        }
        let mut rules = Vec::new();
        for (_, resource) in entries(&document["Resources"])? {
            if resource["Type"].as_str() != Some("AWS::WAFv2::WebACL") {
                continue;
            }
            let properties = &resource["Properties"];
            let acl = properties["Rules"].as_sequence();
            for rule in acl.context("a web ACL has no Rules")? {
                let name = rule["Name"].as_str().context("a rule has no Name")?;
                let read = read_rule(name, rule, &properties["CustomResponseBodies"], &scope);
                let priority: u32 = number(&rule["Priority"], &scope)
                    .with_context(|| format!("the Priority of rule {name} is not a number"))?;
                rules.push((priority, read.with_context(|| format!("in rule {name}"))?));
            }
        }
        rules.sort_by_key(|(priority, _)| *priority);
        let rules = rules.into_iter().map(|(_, rule)| rule).collect();
        Ok(Self { rules })
    }
}

fn read_rule(name: &str, rule: &Value, bodies: &Value, scope: &Scope) -> Result<EdgeRule> {
    let statement = &rule["Statement"]["RateBasedStatement"];
    let mapping = statement
        .as_mapping()
        .context("Statement must be a RateBasedStatement")?;
    check_keys(mapping, RATE_BASED_STATEMENT)?;
    let window: Option<u64> = number(&statement["EvaluationWindowSec"], scope);
    let window = window.filter(|seconds| *seconds > 0);
    Ok(EdgeRule {
        name: name.to_owned(),
        key: read_key(statement)?,
        limit: number(&statement["Limit"], scope).context("Limit is not a number")?,
        window: Duration::from_secs(window.context("EvaluationWindowSec is not a time")?),
        refusal: read_refusal(&rule["Action"], bodies, scope)?,
    })
}

fn read_key(statement: &Value) -> Result<EdgeKey> {
    let kind = statement["AggregateKeyType"].as_str();
    if kind == Some("IP") {
        return Ok(EdgeKey::Address);
    }
    let keys = statement["CustomKeys"].as_sequence();
    let key = match keys.map(Vec::as_slice) {
        Some([key]) if kind == Some("CUSTOM_KEYS") => entries(key)?,
        _ => bail!("AggregateKeyType must be IP, or CUSTOM_KEYS with one of CustomKeys"),
    };
    let [(kind, key)] = key.as_slice() else {
        bail!("a custom key must have one kind");
    };
    let transformations = key["TextTransformations"].as_sequence();
    let transformations = transformations.context("TextTransformations are missing")?;
    ensure!(
        transformations
            .iter()
            .all(|one| one["Type"].as_str() == Some("NONE")),
        "the local stack knows no TextTransformations but NONE"
    );
    let name = key["Name"].as_str().context("a custom key has no Name")?;
    match kind.as_str() {
        "Header" => Ok(EdgeKey::Header(name.to_lowercase())),
        "Cookie" => Ok(EdgeKey::Cookie(name.to_owned())),
        other => bail!("the local stack knows no custom key {other}"),
    }
}

fn read_refusal(action: &Value, bodies: &Value, scope: &Scope) -> Result<EdgeRefusal> {
    let response = &action["Block"]["CustomResponse"];
    let body = response["CustomResponseBodyKey"].as_str();
    let body = &bodies[body.context("Action must be a Block with a CustomResponseBodyKey")?];
    ensure!(
        body["ContentType"].as_str() == Some("APPLICATION_JSON"),
        "the body must be APPLICATION_JSON"
    );
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    for header in response["ResponseHeaders"]
        .as_sequence()
        .into_iter()
        .flatten()
    {
        let text =
            |key: &str| scalar(&header[key]).with_context(|| format!("a header has no {key}"));
        headers.push((text("Name")?, text("Value")?));
    }
    Ok(EdgeRefusal {
        status: number(&response["ResponseCode"], scope).context("ResponseCode is not a number")?,
        headers,
        body: body["Content"]
            .as_str()
            .context("the body has no Content")?
            .to_owned(),
    })
}

fn number<T: FromStr>(value: &Value, scope: &Scope) -> Option<T> {
    scope.resolve(value)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SMALL: &str = r#"
Parameters:
  Most: {Type: Number, Default: 20}
Resources:
  Acl:
    Type: AWS::WAFv2::WebACL
    Properties:
      CustomResponseBodies: {Flood: {ContentType: APPLICATION_JSON, Content: "{}"}}
      Rules:
        - Name: addresses
          Priority: 2
          Statement:
            RateBasedStatement: {Limit: 30, EvaluationWindowSec: 120, AggregateKeyType: IP}
          Action: {Block: {CustomResponse: {ResponseCode: 403, CustomResponseBodyKey: Flood}}}
        - Name: keys
          Priority: 1
          Statement:
            RateBasedStatement:
              Limit: !Ref Most
              EvaluationWindowSec: 60
              AggregateKeyType: CUSTOM_KEYS
              CustomKeys: [{Header: {Name: X-Key, TextTransformations: [{Priority: 0, Type: NONE}]}}]
          Action:
            Block:
              CustomResponse:
                ResponseCode: 429
                CustomResponseBodyKey: Flood
                ResponseHeaders: [{Name: Retry-After, Value: "60"}]
"#;

    #[test]
    fn rules_are_read_in_the_order_of_their_priorities() {
        let refusal = |status, others: &[(&str, &str)]| EdgeRefusal {
            status,
            headers: [("content-type", "application/json")]
                .iter()
                .chain(others)
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: "{}".to_owned(),
        };
        let keys = EdgeRule {
            name: "keys".to_owned(),
            key: EdgeKey::Header("x-key".to_owned()),
            limit: 20,
            window: Duration::from_mins(1),
            refusal: refusal(429, &[("Retry-After", "60")]),
        };
        let addresses = EdgeRule {
            name: "addresses".to_owned(),
            key: EdgeKey::Address,
            limit: 30,
            window: Duration::from_mins(2),
            refusal: refusal(403, &[]),
        };
        let rules = vec![keys, addresses];
        assert_eq!(Edge::parse(SMALL, &[]).unwrap(), Edge { rules });
        let raised = Edge::parse(SMALL, &[("Most", 500)]).unwrap();
        let limits = raised.rules.iter().map(|rule| rule.limit);
        assert_eq!(limits.collect::<Vec<_>>(), [500, 30]);
        assert!(Edge::parse(SMALL, &[("Least", 500)]).is_err());
    }

    #[test]
    fn what_the_local_stack_cannot_apply_is_an_error() {
        for (right, wrong) in [
            ("RateBasedStatement:\n", "ManagedRuleGroupStatement:\n"),
            (
                "Limit: !Ref Most",
                "ScopeDownStatement: {}\n              Limit: 1",
            ),
            ("Limit: !Ref Most", "Limit: !Ref Least"),
            ("EvaluationWindowSec: 60", "EvaluationWindowSec: 0"),
            ("CUSTOM_KEYS", "CONSTANT"),
            ("{Header:", "{UriPath:"),
            ("Type: NONE", "Type: LOWERCASE"),
            ("Block:\n", "Count:\n"),
            (
                "CustomResponseBodyKey: Flood\n",
                "CustomResponseBodyKey: Rain\n",
            ),
            ("Priority: 1\n", "Priority: first\n"),
            ("Value: \"60\"", "Values: \"60\""),
        ] {
            assert!(SMALL.contains(right), "{right}");
            let error = Edge::parse(&SMALL.replace(right, wrong), &[]).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains("rule keys"), "{wrong}: {error}");
        }
    }

    #[test]
    fn f49_the_edge_counts_by_every_credential_and_last_by_address() {
        let rules = Edge::load(&[]).unwrap().rules;
        let keys: Vec<&EdgeKey> = rules.iter().map(|rule| &rule.key).collect();
        let header = |name: &str| EdgeKey::Header(name.to_owned());
        let cookie = |name: &str| EdgeKey::Cookie(name.to_owned());
        let expected = [
            header("x-api-key"),
            header("authorization"),
            cookie("__Host-milady"),
            cookie("privy-token"),
            EdgeKey::Address,
        ];
        assert_eq!(keys, expected.iter().collect::<Vec<_>>());
        let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names.len(), rules.len());
        for rule in &rules {
            assert_eq!(rule.window, Duration::from_mins(1), "{}", rule.name);
            assert_eq!(rule.refusal, rules[0].refusal, "{}", rule.name);
        }
    }

    #[test]
    fn f100_the_metrics_of_the_edge_have_the_name_of_the_stack() {
        let path = build::workspace().join("functions/edge.yaml");
        let text = fs::read_to_string(path).unwrap();
        let metrics: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("MetricName: "))
            .collect();
        assert_eq!(metrics.len(), Edge::load(&[]).unwrap().rules.len() + 1);
        for metric in &metrics {
            assert!(metric.contains("AWS::StackName"), "{metric}");
        }
        // They would show credentials.
        assert!(!text.contains("SampledRequestsEnabled: true"));
    }
}
