//! Counts the answers in a Schemathesis report, per operation and status class.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Numbers of answers by status class, from 1xx to 5xx.
type Classes = [usize; 5];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// By operation, such as `GET /agents/{agentId}`.
    operations: BTreeMap<String, Classes>,
    /// Requests with a method that their path does not have.
    other_methods: usize,
    /// Unexpected answers to those requests.
    unexpected_answers: Vec<String>,
}

impl Report {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut report = Self::default();
        for line in BufReader::new(file).lines() {
            let line: Value =
                serde_json::from_str(&line?).context("a line of the report is not JSON")?;
            report.add(&line["ScenarioFinished"]["recorder"]);
        }
        Ok(report)
    }

    /// Adds the requests of one scenario: of a single operation or of a sequence of several.
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
                self.add_other_method(&operation, status);
            } else if let Some(class) = class(status) {
                self.operations.entry(operation).or_default()[class] += 1;
            }
        }
    }

    /// API Gateway answers 404 instead of 405, and answers preflight requests on every path.
    fn add_other_method(&mut self, operation: &str, status: u64) {
        self.other_methods += 1;
        let is_expected = if operation.starts_with("OPTIONS ") {
            status < 300
        } else {
            status == 404
        };
        if !is_expected {
            self.unexpected_answers.push(format!(
                "{operation} does not exist but was answered with {status}."
            ));
        }
    }

    /// The number of requests.
    fn cases(&self) -> usize {
        let known: usize = self.operations.values().flatten().sum();
        known + self.other_methods
    }

    /// The operations of which at least one request succeeded.
    pub(super) fn successes(&self) -> impl Iterator<Item = &str> {
        let operations = self.operations.iter();
        let succeeded = operations.filter(|(_, [_, success, ..])| *success > 0);
        succeeded.map(|(operation, _)| operation.as_str())
    }

    /// What is wrong with the run; empty if everything is right.
    pub(super) fn complaints(&self, required_cases: usize, routes: &[String]) -> Vec<String> {
        let mut complaints = self.unexpected_answers.clone();
        for route in routes {
            if !self.operations.contains_key(route) {
                complaints.push(format!(
                    "{route} was not tested: it is missing from the description."
                ));
            }
        }
        if self.cases() < required_cases {
            complaints.push(format!(
                "Only {} of {required_cases} requests were sent.",
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

impl fmt::Display for Report {
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
        writeln!(f, "{others:>7}{:28}  methods the path does not have", "")?;
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

    fn report() -> Report {
        let mut report = Report::default();
        let status = |status: u16| json!({"response": {"status_code": status}});
        report.add(&json!({
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
        report.add(&Value::Null);
        report
    }

    #[test]
    fn answers_are_counted_by_operation_and_class() {
        let table = report().to_string();
        assert!(table.contains("      2      1      0      1      0  GET /a/{id}\n"));
        assert!(
            table.contains("4                              in all"),
            "{table}"
        );
    }

    #[test]
    fn operations_succeed_if_one_of_their_requests_does() {
        assert_eq!(report().successes().collect::<Vec<_>>(), ["GET /a/{id}"]);
        assert_eq!(Report::default().successes().count(), 0);
    }

    #[test]
    fn complaints_name_untested_routes_unexpected_answers_and_missing_requests() {
        let routes = ["GET /a/{id}", "GET /b"].map(str::to_owned);
        assert_eq!(
            report().complaints(5, &routes),
            [
                "TRACE /a/{id} does not exist but was answered with 200.",
                "GET /b was not tested: it is missing from the description.",
                "Only 4 of 5 requests were sent.",
            ]
        );
        assert_eq!(report().complaints(4, &routes[..1]).len(), 1);
    }
}
