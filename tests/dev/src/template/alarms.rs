//! The alarms and the dashboard that the template creates. The local stack has neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value as Json;

use super::deployed::{document, of_type};
use crate::build;

/// The metrics of an alarm, of both forms.
pub(super) fn metrics(alarm: &Json) -> Vec<&Json> {
    let properties = &alarm["Properties"];
    match properties["Metrics"].as_array() {
        None => vec![properties],
        Some(queries) => queries
            .iter()
            .map(|query| &query["MetricStat"]["Metric"])
            .filter(|metric| !metric.is_null())
            .collect(),
    }
}

/// The function that a metric is about, as the dashboard writes it. Empty if it is about none.
fn function_of(metric: &Json) -> String {
    let mut dimensions = metric["Dimensions"].as_array().into_iter().flatten();
    let function = dimensions.find(|dimension| dimension["Name"] == "FunctionName");
    let name = function.map(|dimension| dimension["Value"]["!Ref"].as_str().unwrap());
    name.map(|name| format!("${{{name}}}")).unwrap_or_default()
}

#[test]
fn f101_an_alarm_about_silence_fills_the_gaps() {
    let document = document();
    let mut silent = BTreeSet::new();
    for (name, alarm) in of_type(&document, "AWS::CloudWatch::Alarm") {
        let properties = &alarm["Properties"];
        let rings_below = properties["ComparisonOperator"] == "LessThanThreshold";
        let fills = properties["Metrics"][0]["Expression"]
            .as_str()
            .is_some_and(|expression| expression.contains("FILL("));
        let missing = properties["TreatMissingData"].as_str().expect(name);
        assert_eq!(missing == "breaching", rings_below, "{name}");
        assert!(fills || !rings_below, "{name}");
        if rings_below {
            silent.insert(name);
        }
    }
    let expected = [
        "BillingOverdueAlarm",
        "FleetUnseenAlarm",
        "JobSweepAlarm",
        "MailSweepAlarm",
    ];
    assert_eq!(silent, BTreeSet::from(expected));
    let overdue = &document["Resources"]["BillingOverdueAlarm"]["Properties"];
    let period = overdue["Metrics"][1]["MetricStat"]["Period"].as_u64();
    let periods = overdue["EvaluationPeriods"].as_u64();
    assert_eq!(period.zip(periods).map(|(a, b)| a * b), Some(90 * 60));
}

#[test]
fn f101_a_run_that_misses_one_host_silences_no_alarm_about_hosts() {
    let document = document();
    let mut durations = BTreeMap::new();
    for (name, alarm) in of_type(&document, "AWS::CloudWatch::Alarm") {
        let properties = &alarm["Properties"];
        if properties["Namespace"] != "Milady/Fleet" {
            continue;
        }
        // The lowest figure of a period would be that of the run that missed the host.
        assert_eq!(properties["Statistic"], "Maximum", "{name}");
        // Runs start every minute, and a period without one would end the alarm.
        let period = properties["Period"].as_u64().expect(name);
        assert!(period >= 120, "{name}");
        let periods = properties["EvaluationPeriods"].as_u64().expect(name);
        durations.insert(name, period * periods / 60);
    }
    let expected = [("HostDiskAlarm", 60), ("HostsUnreadableAlarm", 10)];
    assert_eq!(durations, BTreeMap::from(expected));
}

#[test]
fn the_dashboard_shows_every_alarm_and_every_metric_that_one_watches() {
    let document = document();
    let body = &document["Resources"]["OperationsDashboard"]["Properties"]["DashboardBody"]["!Sub"];
    let body: Json = serde_json::from_str(body.as_str().unwrap()).unwrap();
    let widgets = body["widgets"].as_array().unwrap();
    let metrics_of = |widget: &Json| widget["properties"]["metrics"].as_array().cloned();
    let shown: BTreeSet<String> = widgets
        .iter()
        .filter_map(metrics_of)
        .flatten()
        .map(|metric| {
            let is_of_function = metric[2] == "FunctionName";
            let function = metric[3].as_str().filter(|_| is_of_function);
            format!(
                "{} {} {}",
                metric[0],
                metric[1],
                function.unwrap_or_default()
            )
        })
        .collect();
    let alarms = of_type(&document, "AWS::CloudWatch::Alarm");
    for (name, alarm) in &alarms {
        for metric in metrics(alarm) {
            let function = function_of(metric);
            let watched = format!(
                "{} {} {function}",
                metric["Namespace"], metric["MetricName"]
            );
            assert!(shown.contains(&watched), "{name}: {watched}");
        }
    }
    let names: BTreeSet<String> = alarms
        .iter()
        .map(|(name, _)| format!("${{{name}.Arn}}"))
        .collect();
    let listed = widgets[0]["properties"]["alarms"].as_array().unwrap();
    let listed: BTreeSet<String> = listed
        .iter()
        .map(|arn| arn.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, names);
}

#[test]
fn every_alarm_has_a_runbook_and_every_runbook_an_alarm() {
    let document = document();
    let alarms = of_type(&document, "AWS::CloudWatch::Alarm");
    let alarms: BTreeSet<&str> = alarms.into_iter().map(|(name, _)| name).collect();
    let path = build::workspace().join("functions/OPERATIONS.md");
    let operations = fs::read_to_string(path).unwrap();
    let headings = operations
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    let runbooks: BTreeSet<&str> = headings.filter(|name| name.ends_with("Alarm")).collect();
    assert_eq!(runbooks, alarms);
}
