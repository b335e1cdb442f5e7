//! What the reader understands, and that the template, the folders, the sample events and the route
//! table of `cargo lambda watch` say the same.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value as Json;

use super::*;

const SMALL: &str = r#"
Parameters:
  Price: {Type: String, Default: "0.02"}
  Secret: {Type: String, Default: milady/url}
Globals:
  Function:
    Timeout: 29
    Environment: {Variables: {LOG_LEVEL: info}}
Resources:
  Queue: {Type: AWS::SQS::Queue}
  AgentGet:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/agent-get/
      MemorySize: 512
      Environment:
        Variables:
          PRICE: !Ref Price
          URL: !Sub "{{resolve:secretsmanager:${Secret}}}"
          QUEUE: !GetAtt Queue.Arn
      Events:
        Get:
          Type: HttpApi
          Properties: {ApiId: !Ref Api, Method: get, Path: "/agents/{agentId}"}
        Hourly:
          Type: ScheduleV2
          Properties: {ScheduleExpression: rate(1 hour), Input: '{"a":1}'}
        Rest:
          Type: HttpApi
"#;

#[test]
fn functions_are_read_with_their_routes_schedules_and_settings() {
    let template = Template::parse(SMALL).unwrap();
    let function = template.function("agent-get").unwrap();
    assert_eq!(function.resource, "AgentGet");
    assert_eq!(function.timeout, Duration::from_secs(29));
    assert_eq!(function.memory_mib, 512);
    assert_eq!(function.env["PRICE"], "0.02");
    assert_eq!(function.env["LOG_LEVEL"], "info");
    assert_eq!(function.secrets, ["URL", "QUEUE"]);
    let routes: Vec<_> = function
        .routes
        .iter()
        .map(|route| (route.method.as_str(), route.path.as_str()))
        .collect();
    assert_eq!(routes, [("GET", "/agents/{agentId}"), ("ANY", "$default")]);
    assert_eq!(function.schedules[0].expression, "rate(1 hour)");
    assert_eq!(function.schedules[0].input.as_deref(), Some("{\"a\":1}"));
}

#[test]
fn a_misspelt_key_inside_an_event_is_an_error() {
    for (right, wrong) in [
        ("Method: get", "Methd: get"),
        ("ScheduleExpression", "ScheduleExpresion"),
        ("Input:", "Inputs:"),
        ("Type: ScheduleV2", "Type: SchedulV2"),
        (
            "          Properties: {ApiId",
            "          Propertie: {ApiId",
        ),
    ] {
        assert!(SMALL.contains(right), "{right}");
        let error = Template::parse(&SMALL.replace(right, wrong)).unwrap_err();
        assert!(
            format!("{error:#}").contains("in resource AgentGet: in event"),
            "{error:#}"
        );
    }
}

#[test]
fn template_folders_and_sample_events_name_the_same_functions() {
    let template = Template::load().unwrap();
    let folders: BTreeSet<String> = build::names().unwrap().into_iter().collect();
    let in_template: BTreeSet<String> = template
        .functions
        .iter()
        .map(|function| function.name.clone())
        .collect();
    assert_eq!(in_template, folders, "template.yaml and functions/");
    let events: BTreeSet<String> = fs::read_dir(build::workspace().join("events"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(events, folders, "events/ and functions/");
    for function in &template.functions {
        assert_eq!(function.resource, pascal_case(&function.name));
    }
}

#[test]
fn sample_events_are_of_the_routes_and_schedules_of_the_template() {
    for function in &Template::load().unwrap().functions {
        let path = build::workspace().join(format!("events/{}.json", function.name));
        let event: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if let Some(route) = function.routes.first() {
            let key = event["routeKey"].as_str().unwrap();
            let keys: Vec<_> = function
                .routes
                .iter()
                .map(|route| format!("{} {}", route.method, route.path))
                .collect();
            assert!(keys.iter().any(|k| k == key), "{}: {key}", path.display());
            assert_eq!(event["version"], "2.0", "{}", route.path);
        }
        for schedule in &function.schedules {
            let input: Json = serde_json::from_str(schedule.input.as_ref().unwrap()).unwrap();
            let keys = |value: &Json| {
                value
                    .as_object()
                    .unwrap()
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
            };
            assert_eq!(keys(&event), keys(&input), "{}", path.display());
        }
    }
}

#[test]
fn cargo_lambda_watch_serves_the_routes_of_the_template() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(build::workspace())
        .output()
        .unwrap();
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap();
    let mut watched = BTreeSet::new();
    for entry in metadata["metadata"]["lambda"]["watch"]["router"]
        .as_array()
        .unwrap()
    {
        let path = entry["path"].as_str().unwrap();
        let function = entry["function"].as_str().unwrap();
        for method in entry["methods"].as_array().unwrap() {
            let method = method.as_str().unwrap();
            watched.insert(format!("{method} {path} -> {function}"));
        }
    }
    let mut routed = BTreeSet::new();
    for function in &Template::load().unwrap().functions {
        for route in &function.routes {
            routed.insert(format!(
                "{} {} -> {}",
                route.method, route.path, function.name
            ));
        }
    }
    assert_eq!(watched, routed);
}

fn pascal_case(name: &str) -> String {
    name.split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}
