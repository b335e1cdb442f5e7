//! Tests of the parser, and that the template, the files of the functions and the sample events agree.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value as Json;
use tokio::net::TcpStream;

use super::*;
use crate::dynamodb::DynamoDb;

const SMALL: &str = r#"
Parameters:
  Price: {Type: String, Default: "0.02"}
  Secret: {Type: String, Default: milady/url}
  Origins: {Type: CommaDelimitedList, Default: "http://a, http://b"}
Globals:
  Function:
    Timeout: 29
    Environment: {Variables: {LOG_LEVEL: info}}
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties: {CorsConfiguration: {AllowOrigins: !Ref Origins, AllowMethods: [GET], MaxAge: 600}}
  Queue: {Type: AWS::SQS::Queue}
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: !Sub "${AWS::StackName}-events"}}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub ${AWS::StackName}-fleet
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
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
          BUS: !Ref Bus
          TABLE: !Ref Table
          ORIGINS: !Join [";", !Ref Origins]
          WORDS: !Join ["-", [a, !Ref Price]]
      EventInvokeConfig: {MaximumRetryAttempts: 1}
      Events:
        Get:
          Type: HttpApi
          Properties: {ApiId: !Ref Api, Method: get, Path: "/agents/{agentId}"}
        Hourly:
          Type: ScheduleV2
          Properties: {ScheduleExpression: rate(1 hour), Input: '{"a":1}'}
        Rest:
          Type: HttpApi
        Due:
          Type: EventBridgeRule
          Properties: {EventBusName: !Ref Bus, Pattern: {source: [me], detail: {n: [1]}}}
"#;

#[test]
fn functions_have_their_routes_schedules_and_settings() {
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
fn references_to_lists_buses_and_tables_are_resolved() {
    let template = Template::parse(SMALL).unwrap();
    assert_eq!(template.buses, ["local-events"]);
    let tables: Vec<_> = template.tables.iter().map(|table| &table.name).collect();
    assert_eq!(tables, ["local-fleet"]);
    let function = template.function("agent-get").unwrap();
    assert_eq!(function.env["BUS"], "local-events");
    assert_eq!(function.env["TABLE"], "local-fleet");
    assert_eq!(function.env["ORIGINS"], "http://a;http://b");
    assert_eq!(function.env["WORDS"], "a-0.02");
    assert_eq!(function.retries, 1);
    assert_eq!(
        function.rules,
        [Rule {
            bus: "local-events".to_owned(),
            pattern: serde_json::json!({"source": ["me"], "detail": {"n": [1]}}),
        }]
    );
    let cors = template.cors.unwrap();
    assert_eq!(cors.origins, ["http://a", "http://b"]);
    assert_eq!(cors.methods, ["GET"]);
    assert_eq!((cors.max_age, cors.credentials), (Some(600), false));
}

const QUEUES: &str = "
Resources:
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: ours}}
  Orders: {Type: AWS::SQS::Queue, Properties: {MessageRetentionPeriod: 120}}
  Ordered:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      EventPattern: {detail-type: [order]}
      Targets: [{Id: queue, Arn: !GetAtt Orders.Arn}]
  AgentGet:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/agent-get/
      Events:
        Orders:
          Type: SQS
          Properties: {Queue: !GetAtt Orders.Arn, BatchSize: 1, ScalingConfig: {MaximumConcurrency: 3}}
";

#[test]
fn a_function_has_the_queues_that_deliver_to_it_with_their_rules() {
    let template = Template::parse(QUEUES).unwrap();
    let rule = Rule {
        bus: "ours".to_owned(),
        pattern: serde_json::json!({"detail-type": ["order"]}),
    };
    assert_eq!(
        template.functions[0].queues,
        [Queue {
            resource: "Orders".to_owned(),
            rules: vec![rule],
            retention: Duration::from_mins(2),
            max_concurrency: 3,
        }]
    );
    for (right, wrong) in [
        ("BatchSize: 1", "BatchSize: 2"),
        ("Queue: !GetAtt Orders.Arn", "Queue: !GetAtt Order.Arn"),
        ("MaximumConcurrency", "MaximumConcurency"),
        (", ScalingConfig: {MaximumConcurrency: 3}", ""),
        ("Arn: !GetAtt Orders.Arn}]", "Arn: !GetAtt Bus.Arn}]"),
        ("EventPattern", "Pattern"),
    ] {
        assert!(QUEUES.contains(right), "{right}");
        let parsed = Template::parse(&QUEUES.replace(right, wrong));
        assert!(parsed.is_err(), "{wrong}");
    }
}

const STREAMS: &str = "
Resources:
  AgentStream:
    Type: AWS::Serverless::Function
    Metadata: {Routes: ['POST /agents/{agentId}/stream', 'POST /older/{agentId}/stream']}
    Properties:
      CodeUri: target/lambda/agent-stream/
      FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM}
";

#[test]
fn function_url_has_the_routes_of_its_metadata() {
    let template = Template::parse(STREAMS).unwrap();
    let route = |path: &str| Route {
        method: "POST".to_owned(),
        path: path.to_owned(),
        is_streamed: true,
    };
    let routes = ["/agents/{agentId}/stream", "/older/{agentId}/stream"];
    assert_eq!(template.functions[0].routes, routes.map(route));
    for (right, wrong) in [
        ("Metadata", "Metadatum"),
        (
            "['POST /agents/{agentId}/stream', 'POST /older/{agentId}/stream']",
            "[]",
        ),
        ("'POST /older", "'/older"),
        ("'POST /agents", "'/agents"),
        ("'POST /agents", "'POST agents"),
        (", InvokeMode: RESPONSE_STREAM", ""),
        ("InvokeMode", "InvokMode"),
        ("RESPONSE_STREAM", "BUFFERED"),
        ("FunctionUrlConfig", "FunctionUrl"),
    ] {
        assert!(STREAMS.contains(right), "{right}");
        let error = Template::parse(&STREAMS.replace(right, wrong)).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("in resource AgentStream: "), "{error}");
    }
}

#[test]
fn misspelt_key_inside_an_event_is_an_error() {
    for (right, wrong) in [
        ("Method: get", "Methd: get"),
        ("ScheduleExpression", "ScheduleExpresion"),
        ("Input:", "Inputs:"),
        ("Type: ScheduleV2", "Type: SchedulV2"),
        ("{EventBusName", "{EventBus"),
        ("Pattern:", "Input: '{}', Pattern:"),
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
fn template_files_and_sample_events_name_the_same_functions() {
    let template = Template::load().unwrap();
    let files: BTreeSet<String> = build::function_names().unwrap().into_iter().collect();
    let in_template: BTreeSet<String> = template
        .functions
        .iter()
        .map(|function| function.name.clone())
        .collect();
    assert_eq!(in_template, files, "template.yaml and functions/");
    let events: BTreeSet<String> = fs::read_dir(build::workspace().join("events"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(events, files, "events/ and functions/");
    for function in &template.functions {
        assert_eq!(function.resource, pascal_case(&function.name));
    }
}

#[test]
fn product_events_go_to_posthog_and_only_the_connection_knows_its_key() {
    let text = fs::read_to_string(build::workspace().join("template.yaml")).unwrap();
    let document: Value = serde_norway::from_str(&text).unwrap();
    let resources = &document["Resources"];
    let rule = &resources["ProductEventsRule"]["Properties"];
    let pattern = &rule["EventPattern"];
    assert_eq!(pattern["source"][0], "milady.control-plane");
    assert_eq!(pattern["detail-type"][0], "product.events");
    assert_eq!(rule["Targets"][0]["InputPath"], "$.detail");
    for (name, resource) in entries(resources).unwrap() {
        let knows_key = serde_norway::to_string(resource)
            .unwrap()
            .contains("PostHogKeySecretArn");
        assert_eq!(knows_key, name == "PostHogConnection", "{name}");
    }
}

#[test]
fn ses_drops_no_mail_because_of_a_complaint_about_another_one() {
    let text = fs::read_to_string(build::workspace().join("template.yaml")).unwrap();
    let document: Value = serde_norway::from_str(&text).unwrap();
    let mails = &document["Resources"]["MailConfigurationSet"]["Properties"];
    let reasons = &mails["SuppressionOptions"]["SuppressedReasons"];
    assert_eq!(reasons[0], "BOUNCE");
    assert_eq!(reasons.as_sequence().map(Vec::len), Some(1));
}

#[test]
fn sample_events_match_the_routes_schedules_and_rules_of_the_template() {
    for function in &Template::load().unwrap().functions {
        let path = build::workspace().join(format!("events/{}.json", function.name));
        let event: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if let Some(route) = function.routes.first() {
            let key = event["routeKey"].as_str().unwrap();
            let keys: Vec<_> = function
                .routes
                .iter()
                .map(|route| match route.path.as_str() {
                    path if path == "$default" || route.is_streamed => "$default".to_owned(),
                    path => format!("{} {path}", route.method),
                })
                .collect();
            assert!(keys.iter().any(|k| k == key), "{}: {key}", path.display());
            assert_eq!(event["version"], "2.0", "{}", route.path);
        }
        // A function with both a rule and a schedule has an event of the rule as its sample.
        let schedules = function.schedules.iter();
        for schedule in schedules.filter(|_| function.rules.is_empty()) {
            let input = schedule.input.as_deref().unwrap_or("{}");
            let input: Json = serde_json::from_str(input).unwrap();
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
        // A function with several rules has an event of one of them.
        let matches = function.rules.iter().any(|rule| {
            let has = |field| {
                let values: &Vec<Json> = rule.pattern[field].as_array().unwrap();
                values.contains(&event[field])
            };
            ["source", "detail-type"].into_iter().all(has)
        });
        assert!(matches || function.rules.is_empty(), "{}", path.display());
        // A queue has the event in the body of a message.
        let mut queued = function.queues.iter().flat_map(|queue| &queue.rules);
        let body = event["Records"][0]["body"].as_str().unwrap_or("{}");
        let sent: Json = serde_json::from_str(body).unwrap();
        let matches = queued.any(|rule| {
            let kinds = rule.pattern["detail-type"].as_array().unwrap();
            let lanes = rule.pattern["detail"]["lane"].as_array().unwrap();
            kinds.contains(&sent["detail-type"]) && lanes.contains(&sent["detail"]["lane"])
        });
        assert!(matches || function.queues.is_empty(), "{}", path.display());
    }
}

#[tokio::test]
async fn emulator_creates_the_tables_of_the_template_and_closes_its_port_when_stopped() {
    let mut emulator = DynamoDb::start().await.unwrap();
    let template = Template::load().unwrap();
    assert!(!template.tables.is_empty());
    for table in &template.tables {
        assert_eq!(table.ttl["Enabled"], true);
        emulator.create_table(table, &table.name).unwrap();
        let error = emulator.create_table(table, &table.name).unwrap_err();
        assert!(error.to_string().contains(&table.name), "{error}");
        let item = serde_json::json!({"pk": {"S": "a"}, "sk": {"S": "b"}, "n": {"N": "7"}});
        emulator.put(&table.name, &item).unwrap();
        assert_eq!(emulator.items(&table.name).unwrap(), [item]);
        emulator.remove(&table.name, "a", "b").unwrap();
        assert!(emulator.items(&table.name).unwrap().is_empty());
    }
    assert!(emulator.items("nowhere").is_err());
    let address = emulator.address();
    let address = address.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).await.is_ok());
    emulator.stop().await;
    let mut is_closed = TcpStream::connect(address).await.is_err();
    // Another test may have taken the port, but hardly three in a row.
    for _ in 0..2 {
        if is_closed {
            break;
        }
        let mut other = DynamoDb::start().await.unwrap();
        let address = other.address();
        other.stop().await;
        let address = address.strip_prefix("http://").unwrap();
        is_closed = TcpStream::connect(address).await.is_err();
    }
    assert!(is_closed);
}

fn pascal_case(name: &str) -> String {
    name.split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}
