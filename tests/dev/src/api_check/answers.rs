//! What was answered to whom, from the report of Schemathesis.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Answers by status class, from 1xx to 5xx.
type Classes = [usize; 5];

/// The answers of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// By operation, `GET /agents/{agentId}`.
    operations: BTreeMap<String, Classes>,
    /// Requests with a method that their path does not have.
    other_methods: usize,
    /// The answers to such that do not say so.
    surprises: Vec<String>,
}

impl Answers {
    /// Reads the report.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let report = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut answers = Self::default();
        for line in BufReader::new(report).lines() {
            let line: Value = serde_json::from_str(&line?).context("a line is not JSON")?;
            answers.add(&line["ScenarioFinished"]["recorder"]);
        }
        Ok(answers)
    }

    /// Adds the requests of one scenario: a single operation, or a walk through several.
    fn add(&mut self, recorder: &Value) {
        for (id, interaction) in recorder["interactions"].as_object().into_iter().flatten() {
            let Some(status) = interaction["response"]["status_code"].as_u64() else {
                continue;
            };
            let case = &recorder["cases"][id]["value"];
            let text = |key: &str| case[key].as_str().unwrap_or_default();
            let operation = format!("{} {}", text("method"), text("path"));
            let scenario = &case["meta"]["phase"]["data"]["scenario"];
            if scenario == "unspecified_http_method" {
                self.other_method(&operation, status);
            } else if let Some(class) = class(status) {
                self.operations.entry(operation).or_default()[class] += 1;
            }
        }
    }

    /// API Gateway has no 405, and its preflights are answered on every path.
    fn other_method(&mut self, operation: &str, status: u64) {
        self.other_methods += 1;
        let is_expected = if operation.starts_with("OPTIONS ") {
            status < 300
        } else {
            status == 404
        };
        if !is_expected {
            self.surprises.push(format!(
                "{operation} does not exist, but was answered with {status}."
            ));
        }
    }

    /// How many requests were made.
    fn cases(&self) -> usize {
        let known: usize = self.operations.values().flatten().sum();
        known + self.other_methods
    }

    /// What is wrong with them; nothing if all is well.
    pub(super) fn complaints(&self, wanted: usize, routes: &[String]) -> Vec<String> {
        let mut complaints = self.surprises.clone();
        for route in routes {
            if !self.operations.contains_key(route) {
                complaints.push(format!("{route} was not tried: it is not described."));
            }
        }
        if self.cases() < wanted {
            complaints.push(format!(
                "Only {} of {wanted} requests were made.",
                self.cases()
            ));
        }
        complaints
    }
}

fn class(status: u64) -> Option<usize> {
    let class = usize::try_from(status / 100).ok()?.checked_sub(1)?;
    (class < 5).then_some(class)
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  cases    2xx    3xx    4xx    5xx  operation")?;
        for (operation, classes) in &self.operations {
            let [_, success, redirection, refusal, failure] = classes;
            let cases: usize = classes.iter().sum();
            writeln!(
                f,
                "{cases:>7}{success:>7}{redirection:>7}{refusal:>7}{failure:>7}  {operation}"
            )?;
        }
        let others = self.other_methods;
        writeln!(f, "{others:>7}{:28}  methods that a path does not have", "")?;
        writeln!(f, "{:>7}{:28}  in all", self.cases(), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case(method: &str, scenario: &str) -> Value {
        let meta = json!({"phase": {"data": {"scenario": scenario}}});
        json!({"value": {"method": method, "path": "/a/{id}", "meta": meta}})
    }

    fn answers() -> Answers {
        let mut answers = Answers::default();
        let status = |status: u16| json!({"response": {"status_code": status}});
        answers.add(&json!({
            "cases": {
                "1": case("GET", ""), "2": case("GET", ""), "3": case("GET", ""),
                "4": case("PUT", "unspecified_http_method"),
                "5": case("TRACE", "unspecified_http_method"),
            },
            "interactions": {
                "1": status(200), "2": status(404), "3": {"response": null},
                "4": status(404), "5": status(200),
            },
        }));
        answers.add(&Value::Null);
        answers
    }

    #[test]
    fn answers_are_counted_by_operation_and_class() {
        let table = answers().to_string();
        assert!(table.contains("      2      1      0      1      0  GET /a/{id}\n"));
        assert!(
            table.contains("4                              in all"),
            "{table}"
        );
    }

    #[test]
    fn complaints_name_what_is_missing_and_what_should_not_be_there() {
        let routes = ["GET /a/{id}", "GET /b"].map(str::to_owned);
        assert_eq!(
            answers().complaints(5, &routes),
            [
                "TRACE /a/{id} does not exist, but was answered with 200.",
                "GET /b was not tried: it is not described.",
                "Only 4 of 5 requests were made.",
            ]
        );
        assert_eq!(answers().complaints(4, &routes[..1]).len(), 1);
    }
}
