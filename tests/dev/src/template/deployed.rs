//! What the template promises of a deployment. The tests look at the file itself, because the local stack has neither a
//! network of its own nor alarms.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value as Json, json};

use super::alarms::metrics;
use super::*;

/// These serve everybody the same and read no secret.
const PUBLIC: [&str; 3] = ["Dashboard", "NotFound", "Openapi"];

pub(super) fn text() -> String {
    fs::read_to_string(build::workspace().join("template.yaml")).unwrap()
}

/// The template as JSON, with `!Ref x` as `{"!Ref": "x"}`.
pub(super) fn document() -> Json {
    json_of(&serde_norway::from_str(&text()).unwrap())
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let tag = format!("!{}", tag.trim_start_matches('!'));
            Json::from_iter([(tag, json_of(&tagged.value))])
        }
        Value::Sequence(parts) => parts.iter().map(json_of).collect(),
        Value::Mapping(_) => entries(value)
            .unwrap()
            .into_iter()
            .map(|(key, value)| (key, json_of(value)))
            .collect(),
        plain => serde_json::to_value(plain).unwrap(),
    }
}

pub(super) fn resources(document: &Json) -> BTreeMap<&str, &Json> {
    let resources = document["Resources"].as_object().unwrap();
    resources
        .iter()
        .map(|(name, resource)| (name.as_str(), resource))
        .collect()
}

pub(super) fn of_type<'a>(document: &'a Json, kind: &str) -> Vec<(&'a str, &'a Json)> {
    let mut found: Vec<_> = resources(document).into_iter().collect();
    found.retain(|(_, resource)| resource["Type"] == kind);
    assert!(!found.is_empty(), "{kind}");
    found
}

pub(super) fn functions(document: &Json) -> Vec<(&str, &Json)> {
    of_type(document, "AWS::Serverless::Function")
}

/// The events of a function of this kind.
fn events<'a>(function: &'a Json, kind: &str) -> Vec<&'a Json> {
    let events = function["Properties"]["Events"].as_object();
    let events = events.into_iter().flat_map(serde_json::Map::values);
    events.filter(|event| event["Type"] == kind).collect()
}

#[test]
fn f96_only_cloudfront_and_the_connection_copy_a_secret() {
    let document = document();
    for (name, resource) in resources(&document) {
        let references = resource.to_string().matches("{{resolve:").count();
        let expected = match name {
            // Two origins; the header that a connection must have, and its body.
            "Distribution" | "PostHogConnection" => 2,
            _ => 0,
        };
        assert_eq!(references, expected, "{name}");
    }
    let globals = document["Globals"].to_string();
    assert!(!globals.contains("{{resolve:"), "{globals}");
}

#[test]
fn f96_required_parameters_have_no_default_and_the_others_have_limits() {
    let document = document();
    let mut required = BTreeSet::new();
    for (name, parameter) in document["Parameters"].as_object().unwrap() {
        if parameter["Default"].is_null() {
            required.insert(name.as_str());
        }
        let limits = ["AllowedPattern", "AllowedValues", "MinValue", "MaxLength"];
        let is_limited = limits.iter().any(|limit| !parameter[*limit].is_null());
        assert!(is_limited, "{name}");
        assert!(!parameter["Description"].is_null(), "{name}");
        let default = parameter["Default"].to_string();
        assert!(!default.contains("arn:"), "{name}: {default}");
        assert!(!default.contains("example"), "{name}: {default}");
    }
    let expected = [
        "AllowedOrigins",
        "AppUrl",
        "MailFrom",
        "OwnerSecretArn",
        "RuntimeSecretArn",
        "SecretsKeysArn",
        "SshKeySecretArn",
    ];
    assert_eq!(required, BTreeSet::from(expected));
}

#[test]
fn f97_every_function_waits_for_the_migrations() {
    let document = document();
    let schema = &document["Resources"]["Schema"];
    assert_eq!(
        schema["Properties"]["ServiceToken"],
        json!({"!GetAtt": "DbMigrate.Arn"})
    );
    assert!(schema["Properties"]["Migrations"].as_u64() > Some(30));
    for (name, function) in functions(&document) {
        let expected = if name == "DbMigrate" {
            Json::Null
        } else {
            json!("Schema")
        };
        assert_eq!(function["DependsOn"], expected, "{name}");
    }
    // CloudFormation waits longer than the function runs, and not for its default of an hour.
    let timeout = Template::load().unwrap();
    let timeout = timeout.function("db-migrate").unwrap().timeout.as_secs();
    let waits = schema["Properties"]["ServiceTimeout"].as_u64().unwrap();
    assert!((timeout..timeout + 120).contains(&waits), "{waits}");
}

#[test]
fn f98_all_functions_can_be_in_private_subnets() {
    let document = document();
    let globals = &document["Globals"]["Function"]["VpcConfig"]["!If"];
    assert_eq!(globals[0], "IsInVpc");
    assert_eq!(globals[1]["SubnetIds"], json!({"!Ref": "SubnetIds"}));
    for (name, function) in functions(&document) {
        assert!(function["Properties"]["VpcConfig"].is_null(), "{name}");
    }
}

#[test]
fn f99_streams_pages_and_api_share_a_domain_and_nothing_is_cached() {
    let document = document();
    let config = &document["Resources"]["Distribution"]["Properties"]["DistributionConfig"];
    let behaviors = config["CacheBehaviors"].as_array().unwrap();
    let paths_of_behaviors: BTreeSet<String> = behaviors
        .iter()
        .map(|behavior| behavior["PathPattern"].as_str().unwrap().to_owned())
        .collect();
    let template = Template::load().unwrap();
    let routes = template.functions.iter().flat_map(|f| &f.routes);
    let streams: BTreeSet<String> = routes
        .filter(|route| route.is_streamed)
        .map(|route| route.path.replace("{agentId}", "*"))
        .collect();
    assert_eq!(paths_of_behaviors, streams);
    for behavior in behaviors.iter().chain([&config["DefaultCacheBehavior"]]) {
        // CachingDisabled and AllViewerExceptHostHeader.
        let policies = [
            &behavior["CachePolicyId"],
            &behavior["OriginRequestPolicyId"],
        ];
        assert_eq!(
            policies,
            [
                "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
                "b689b0a8-53d0-40ab-baf2-68738e2966ac"
            ]
        );
        assert_eq!(behavior["Compress"], false);
        assert!(behavior["AllowedMethods"].to_string().contains("DELETE"));
    }
    for behavior in behaviors {
        assert_eq!(behavior["TargetOriginId"], "stream");
    }
    for origin in config["Origins"].as_array().unwrap() {
        let header = &origin["OriginCustomHeaders"][0];
        assert_eq!(header["HeaderName"], "X-Origin-Secret");
    }
}

#[test]
fn f99_every_function_that_is_called_from_outside_checks_the_origin_or_is_public() {
    let document = document();
    let variables = &document["Globals"]["Function"]["Environment"]["Variables"];
    let arn = json!({"!If": ["HasDomain", {"!Ref": "RuntimeSecretArn"}, ""]});
    for name in ["ORIGIN_SECRET_ARN", "ORIGIN_SECRET_OTHER_ARN"] {
        assert_eq!(variables[name], arn, "{name}");
        for (function, resource) in functions(&document) {
            let own = &resource["Properties"]["Environment"]["Variables"][name];
            let reads_nothing = PUBLIC.contains(&function) || function == "AgentDatabaseCheck";
            let expected = if reads_nothing { json!("") } else { Json::Null };
            assert_eq!(*own, expected, "{function}");
            let policies = resource["Properties"]["Policies"].to_string();
            let may_read = policies.contains(r#""SecretArn":{"!Ref":"RuntimeSecretArn"}"#);
            assert_eq!(may_read, !reads_nothing, "{function}");
        }
    }
}

#[test]
fn f99_nothing_is_reserved_unless_a_parameter_says_so() {
    let document = document();
    let mut parameters = BTreeSet::new();
    for (name, function) in functions(&document) {
        let reserved = &function["Properties"]["ReservedConcurrentExecutions"];
        if reserved.is_null() {
            continue;
        }
        let parameter = reserved["!If"][1]["!Ref"].as_str().expect(name);
        assert_eq!(document["Parameters"][parameter]["Default"], "", "{name}");
        parameters.insert(parameter.to_owned());
    }
    let expected = [
        "JobRunConcurrency",
        "NotifyConcurrency",
        "ScheduledConcurrency",
        "StreamConcurrency",
        "WebhookConcurrency",
    ];
    assert_eq!(parameters, BTreeSet::from(expected.map(str::to_owned)));
}

#[test]
fn f100_names_and_metrics_differ_from_stack_to_stack() {
    let document = document();
    for (name, function) in functions(&document) {
        assert!(function["Properties"]["FunctionName"].is_null(), "{name}");
        for schedule in events(function, "ScheduleV2") {
            // Without it SAM names the schedule after the resource.
            assert_eq!(schedule["Properties"]["OmitName"], true, "{name}");
        }
    }
    for (name, resource) in resources(&document) {
        for key in [
            "Name",
            "TableName",
            "LogGroupName",
            "AlarmName",
            "QueueName",
        ] {
            let given = &resource["Properties"][key];
            let is_own = given.to_string().contains("${AWS::StackName}");
            assert!(given.is_null() || is_own, "{name}: {given}");
        }
    }
    for (name, alarm) in of_type(&document, "AWS::CloudWatch::Alarm") {
        for metric in metrics(alarm) {
            let namespace = metric["Namespace"].as_str().unwrap();
            let dimension = &metric["Dimensions"][0];
            let is_stack = dimension["Name"] == "Stack"
                && dimension["Value"] == json!({"!Ref": "AWS::StackName"});
            let is_of_resource = dimension["Value"].to_string().contains('!');
            assert_eq!(is_stack, namespace.starts_with("Milady/"), "{name}");
            assert!(is_of_resource, "{name}");
        }
    }
}

#[test]
fn f101_asynchronous_events_have_an_age_limit_and_undelivered_ones_a_queue() {
    let document = document();
    for (name, function) in functions(&document) {
        let schedules = events(function, "ScheduleV2");
        let rules = events(function, "EventBridgeRule");
        let invoked = &function["Properties"]["EventInvokeConfig"];
        let is_asynchronous = !schedules.is_empty() || !rules.is_empty();
        assert_eq!(!invoked.is_null(), is_asynchronous, "{name}");
        if !is_asynchronous {
            continue;
        }
        let age = invoked["MaximumEventAgeInSeconds"].as_u64().expect(name);
        // Whatever is not repeated by somebody else is kept.
        let is_repeated = invoked["MaximumRetryAttempts"] == 0;
        assert!(!is_repeated || age <= 3600, "{name}");
        let has_queue = !invoked["DestinationConfig"]["OnFailure"].is_null();
        assert_eq!(has_queue, !is_repeated, "{name}");
        for rule in rules {
            let queue = &rule["Properties"]["DeadLetterConfig"]["Arn"];
            assert_eq!(
                *queue,
                json!({"!GetAtt": "UndeliveredEvents.Arn"}),
                "{name}"
            );
        }
        for schedule in schedules {
            let properties = &schedule["Properties"];
            let is_limited = !properties["RetryPolicy"].is_null();
            let has_queue = !properties["DeadLetterConfig"].is_null();
            assert!(is_limited || has_queue, "{name}");
        }
    }
}

#[test]
fn five_functions_are_shifted_gradually_and_errors_of_their_new_version_shift_them_back() {
    let document = document();
    let mut gradual = BTreeSet::new();
    let mut descriptions = BTreeSet::new();
    for (name, function) in functions(&document) {
        let properties = &function["Properties"];
        let preference = &properties["DeploymentPreference"];
        assert_eq!(
            preference.is_null(),
            properties["AutoPublishAlias"].is_null(),
            "{name}"
        );
        if preference.is_null() {
            continue;
        }
        gradual.insert(name);
        let alarm = format!("{name}RollbackAlarm");
        assert_eq!(preference["Alarms"], json!([{"!Ref": alarm}]), "{name}");
        let watched = &document["Resources"][&alarm]["Properties"]["Dimensions"];
        let alias = format!("${{{name}}}:live");
        let version = format!("{name}.Version.Version");
        let expected = json!([
            {"Name": "FunctionName", "Value": {"!Ref": name}},
            {"Name": "Resource", "Value": {"!Sub": alias}},
            {"Name": "ExecutedVersion", "Value": {"!GetAtt": version}},
        ]);
        assert_eq!(*watched, expected, "{name}");
        // Without another version the alias keeps the older values of these.
        assert_eq!(properties["AutoPublishAliasAllProperties"], true, "{name}");
        let description = properties["VersionDescription"].to_string();
        for parameter in ["SecretsRevision", "RunningHourly", "OlderApplication"] {
            assert!(description.contains(parameter), "{name}: {parameter}");
        }
        descriptions.insert(description);
    }
    // The guide names one list of parameters for all of them.
    assert_eq!(descriptions.len(), 1, "{descriptions:#?}");
    let expected = [
        "BillingHourly",
        "FleetRefresh",
        "JobRun",
        "JobSweep",
        "Notify",
    ];
    assert_eq!(gradual, BTreeSet::from(expected));
}

/// `.ci/rehearse.py` creates stacks with these files, and tells whether their values are allowed.
#[test]
fn the_parameter_files_of_the_guide_leave_out_nothing_that_is_required() {
    let document = document();
    let parameters = document["Parameters"].as_object().unwrap();
    let mut required: BTreeSet<&str> = parameters
        .iter()
        .filter(|(_, parameter)| parameter["Default"].is_null())
        .map(|(name, _)| name.as_str())
        .collect();
    // It may be left out where every agent names its image, which is not so at a first look.
    required.insert("DefaultAgentImage");
    for (file, is_minimal) in [("minimal.toml", true), ("complete.toml", false)] {
        let path = build::workspace().join("functions/parameters").join(file);
        let text = fs::read_to_string(path).unwrap();
        let given: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix('"')?.split_once('='))
            .map(|(name, _)| name)
            .collect();
        assert!(given.is_superset(&required), "{file}");
        assert!(!is_minimal || given == required, "{file}");
        for name in given {
            assert!(parameters.contains_key(name), "{file}: {name}");
        }
    }
}

#[test]
fn backups_are_replicated_only_if_a_parameter_says_so_and_deletions_follow() {
    let document = document();
    let bucket = &document["Resources"]["BackupBucket"]["Properties"];
    for key in ["VersioningConfiguration", "ReplicationConfiguration"] {
        let choice = &bucket[key]["!If"];
        assert_eq!(choice[0], "ReplicatesBackups", "{key}");
        assert_eq!(choice[2], json!({"!Ref": "AWS::NoValue"}), "{key}");
    }
    let rule = &bucket["ReplicationConfiguration"]["!If"][1]["Rules"][0];
    assert_eq!(rule["DeleteMarkerReplication"]["Status"], "Enabled");
    let replicator = &document["Resources"]["BackupReplicationRole"];
    assert_eq!(replicator["Condition"], "ReplicatesBackups");
}
