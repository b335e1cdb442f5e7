//! The OpenAPI 3.1 document that describes all routes. Owns: how a [`Route`] becomes an operation.

mod components;

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::older_paths;
use super::parameters;
use super::problem::{PROBLEM_JSON, PaymentRequiredBody, ProblemBody};
use super::route::{
    CallerKind, Content, Link, Location, MakeSchema, Parameter, RequestBody, ResponseHeader,
    ResponseKind, Route,
};
use super::routes;
use components::{CSV, DESCRIPTION, TAGS, headers, refusal_text, security_schemes};

/// The document. It is the same at every call.
#[must_use]
pub fn document() -> Value {
    Builder::new().document()
}

/// Requests and responses have generators of their own: an optional member of a request may be left out, while
/// one of a response is always there, if only as null.
struct Builder {
    requests: SchemaGenerator,
    responses: SchemaGenerator,
    /// `components.responses`, by name: the refusals that are used.
    refusals: BTreeMap<&'static str, Value>,
    /// `components.parameters`, by name.
    parameters: BTreeMap<&'static str, Value>,
}

impl Builder {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            requests: settings()
                .for_deserialize()
                .with_transform(RecursiveTransform(join_lines))
                .with_transform(RecursiveTransform(drop_integer_formats))
                .into_generator(),
            responses: settings()
                .for_serialize()
                .with_transform(RecursiveTransform(join_lines))
                .with_transform(RecursiveTransform(drop_integer_formats))
                .with_transform(RecursiveTransform(close_object))
                .into_generator(),
            refusals: BTreeMap::new(),
            parameters: BTreeMap::new(),
        }
    }

    fn document(mut self) -> Value {
        let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for route in routes::all() {
            let operation = self.operation(route);
            let method = route.method.to_lowercase();
            if let Some(path) = older_paths::older(route.path) {
                let older = older_operation(route, operation.clone());
                paths.entry(path).or_default().insert(method.clone(), older);
            }
            let path = paths.entry(route.path.to_owned()).or_default();
            path.insert(method, operation);
        }
        let mut schemas = self.requests.take_definitions(true);
        for (name, schema) in self.responses.take_definitions(true) {
            let previous = schemas.insert(name.clone(), schema.clone());
            assert!(
                previous.is_none_or(|previous| previous == schema),
                "the schema {name} differs between requests and responses"
            );
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Milady Cloud control plane",
                "version": "1.0.0",
                "summary": "Run AI agents on a managed fleet and pay by the hour from prepaid credit.",
                "description": DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/", "description": "The address that served this document."}],
            "tags": TAGS.map(|(tag, description)| json!({
                "name": format!("{tag:?}"), "description": description,
            })),
            "paths": paths,
            "components": {
                "securitySchemes": security_schemes(),
                "parameters": self.parameters,
                "headers": headers(),
                "responses": self.refusals,
                "schemas": schemas,
            },
        })
    }

    fn operation(&mut self, route: &Route) -> Value {
        let mut operation = json!({
            "operationId": route.operation,
            "x-function": route.function,
            "x-caller": route.caller,
            "tags": [format!("{:?}", route.tag)],
            "summary": route.summary,
            "security": security(route.caller),
            "responses": self.operation_responses(route),
        });
        let description = description(route);
        if !description.is_empty() {
            operation["description"] = json!(description);
        }
        if route.is_deprecated {
            operation["deprecated"] = json!(true);
        }
        let parameters = self.operation_parameters(route);
        if !parameters.is_empty() {
            operation["parameters"] = Value::Array(parameters);
        }
        if let Some(body) = &route.body {
            operation["requestBody"] = self.request_body(body);
        }
        operation
    }

    fn operation_parameters(&mut self, route: &Route) -> Vec<Value> {
        let in_path = path_parameters(route);
        let version = has_etag(route).then_some(&parameters::IF_NONE_MATCH);
        let all = in_path.into_iter().chain(route.parameters).chain(version);
        all.map(|parameter| self.parameter(parameter)).collect()
    }

    /// The first parameter of a name stands in the components, another of the same name in its operation.
    fn parameter(&mut self, parameter: &Parameter) -> Value {
        let location = match parameter.location {
            Location::Path => "path",
            Location::Query => "query",
            Location::Header => "header",
        };
        let schema = self.request_schema(parameter.schema);
        let mut value = json!({"name": parameter.name, "in": location, "schema": schema});
        if parameter.is_required {
            value["required"] = json!(true);
        }
        if !parameter.description.is_empty() {
            value["description"] = json!(parameter.description);
        }
        if !parameter.example.is_empty() {
            value["example"] = parse(parameter.example);
        }
        match self.parameters.get(parameter.name) {
            Some(shared) if *shared != value => value,
            _ => {
                self.parameters.insert(parameter.name, value);
                reference("parameters", parameter.name)
            }
        }
    }

    /// The generator transforms named schemas only.
    fn request_schema(&mut self, make: MakeSchema) -> Schema {
        let mut schema = make(&mut self.requests);
        RecursiveTransform(join_lines).transform(&mut schema);
        RecursiveTransform(drop_integer_formats).transform(&mut schema);
        schema
    }

    fn response_schema(&mut self, make: MakeSchema) -> Schema {
        let mut schema = make(&mut self.responses);
        RecursiveTransform(join_lines).transform(&mut schema);
        RecursiveTransform(drop_integer_formats).transform(&mut schema);
        RecursiveTransform(close_object).transform(&mut schema);
        schema
    }

    /// The response says what its body is.
    fn body_schema(&mut self, make: MakeSchema) -> Schema {
        let mut schema = self.response_schema(make);
        schema.remove("description");
        schema
    }

    fn request_body(&mut self, body: &RequestBody) -> Value {
        let schema = self.request_schema(body.schema);
        let mut content = json!({"schema": schema});
        if !body.example.is_empty() {
            content["example"] = parse(body.example);
        }
        json!({"required": body.is_required, "content": {"application/json": content}})
    }

    fn operation_responses(&mut self, route: &Route) -> Map<String, Value> {
        let mut responses = Map::new();
        for response in route.responses {
            responses.insert(response.status.to_string(), self.response(response));
        }
        for status in refusals(route) {
            let response = self.refusal(status);
            responses.entry(status.to_string()).or_insert(response);
        }
        responses
    }

    fn response(&mut self, response: &ResponseKind) -> Value {
        let mut headers = json!({"X-Request-Id": reference("headers", "X-Request-Id")});
        for header in response.headers {
            let name = header_name(*header);
            headers[name] = reference("headers", name);
        }
        let mut content = Map::new();
        match response.content {
            Content::Json(schema) => {
                let mut body = json!({"schema": self.body_schema(schema)});
                if !response.example.is_empty() {
                    body["example"] = parse(response.example);
                }
                content.insert("application/json".to_owned(), body);
            }
            Content::Stream(media_type) => {
                content.insert(media_type.to_owned(), json!({}));
            }
        }
        if response.is_also_csv {
            headers["Link"] = reference("headers", "Link");
            let text = json!({"schema": {"type": "string", "description": CSV}});
            content.insert("text/csv".to_owned(), text);
        }
        if response.is_also_refusal {
            let problem = json!(self.responses.subschema_for::<ProblemBody>());
            if let Some(body) = content.get_mut("application/json") {
                let success = body["schema"].take();
                body["schema"] = json!({"anyOf": [success, problem]});
            }
            content.insert(PROBLEM_JSON.to_owned(), json!({"schema": problem}));
        }
        let mut value = json!({
            "description": response.description, "headers": headers, "content": content,
        });
        if !response.links.is_empty() {
            value["links"] = response.links.iter().map(link).collect();
        }
        value
    }

    fn refusal(&mut self, status: u16) -> Value {
        let (name, description) = refusal_text(status);
        if !self.refusals.contains_key(name) {
            let mut headers = json!({"X-Request-Id": reference("headers", "X-Request-Id")});
            let mut value = json!({"description": description});
            match status {
                304 => headers["ETag"] = reference("headers", "ETag"),
                402 => {
                    let schema = self.responses.subschema_for::<PaymentRequiredBody>();
                    value["content"] = json!({"application/json": {"schema": schema}});
                }
                _ => {
                    let mut schema = self.responses.subschema_for::<ProblemBody>();
                    schema.insert(
                        "properties".to_owned(),
                        json!({"status": {"const": status}}),
                    );
                    let content = json!({"schema": schema});
                    value["content"] = json!({"application/json": content, PROBLEM_JSON: content});
                }
            }
            if matches!(status, 429 | 503) {
                headers["Retry-After"] = reference("headers", "Retry-After");
            }
            value["headers"] = headers;
            self.refusals.insert(name, value);
        }
        reference("responses", name)
    }
}

/// The operation of a route under the older path of the route.
fn older_operation(route: &Route, mut operation: Value) -> Value {
    operation["operationId"] = json!(format!("{}-older-path", route.operation));
    operation["description"] = json!(format!("An older path of `{}`.", route.path));
    operation["deprecated"] = json!(true);
    operation
}

fn description(route: &Route) -> String {
    let rule = match route.caller {
        CallerKind::SuperAdmin => {
            "For super admins, with a key that names the permission `admin`, if with one. Any other caller gets 403."
        }
        CallerKind::AgentManager => {
            "For members and owners, with a key that has the permission `agents`, if with one."
        }
        CallerKind::AgentOwner => {
            "For owners, with a key that has the permission `agents`, if with one."
        }
        CallerKind::Owner => {
            "For owners, with a key that has the permission `billing`, if with one."
        }
        _ => "",
    };
    format!("{} {rule}", route.description).trim().to_owned()
}

fn security(caller: CallerKind) -> Value {
    match caller {
        CallerKind::Reader
        | CallerKind::AgentManager
        | CallerKind::AgentOwner
        | CallerKind::Owner
        | CallerKind::SuperAdmin => json!([
            {"apiKey": []}, {"bearer": []}, {"privyCookie": []}, {"sessionCookie": []},
        ]),
        CallerKind::Scheduler => json!([{"cronSecret": []}]),
        CallerKind::Browser | CallerKind::Anybody => json!([]),
    }
}

/// The parameters that the path names. The panic is a test's: the document is made at development time only.
fn path_parameters(route: &Route) -> Vec<&'static Parameter> {
    let names = route.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(name)
    });
    names
        .map(|name| {
            let parameter = parameters::PATH.iter().find(|known| known.name == name);
            let Some(parameter) = parameter else {
                panic!("{} has an undescribed parameter {name}", route.path);
            };
            parameter
        })
        .collect()
}

fn has_etag(route: &Route) -> bool {
    let mut responses = route.responses.iter();
    responses.any(|response| response.headers.contains(&ResponseHeader::ETag))
}

/// The statuses of refusals, in order.
fn refusals(route: &Route) -> Vec<u16> {
    let by_caller: &[u16] = match route.caller {
        CallerKind::Reader
        | CallerKind::AgentManager
        | CallerKind::AgentOwner
        | CallerKind::Owner
        | CallerKind::SuperAdmin => &[401, 403, 429, 503],
        CallerKind::Scheduler => &[401, 503],
        CallerKind::Browser => &[403, 503],
        CallerKind::Anybody => &[],
    };
    let mut statuses = [route.refusals, by_caller, &[413, 500]].concat();
    if route.body.is_some() {
        statuses.extend([400, 415]);
    }
    if has_etag(route) {
        statuses.push(304);
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn header_name(header: ResponseHeader) -> &'static str {
    match header {
        ResponseHeader::ETag => "ETag",
        ResponseHeader::Age => "Age",
        ResponseHeader::SetCookie => "Set-Cookie",
    }
}

fn link(link: &Link) -> (String, Value) {
    let mut parameters = Map::new();
    let expression = format!("$response.body#{}", link.pointer);
    parameters.insert(link.parameter.to_owned(), json!(expression));
    let value = json!({
        "operationId": link.operation, "parameters": parameters, "description": link.description,
    });
    (link.name.to_owned(), value)
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// An example that is written in JSON. The panic is a test's.
fn parse(json: &str) -> Value {
    let Ok(value) = serde_json::from_str(json) else {
        panic!("this example is not JSON: {json}");
    };
    value
}

/// A paragraph of a doc comment is one line.
fn join_lines(schema: &mut Schema) {
    let Some(Value::String(text)) = schema.get("description") else {
        return;
    };
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|text| text.replace('\n', " "))
        .collect();
    schema.insert("description".to_owned(), json!(paragraphs.join("\n\n")));
}

/// `int64` and the like say nothing to a client in JSON.
fn drop_integer_formats(schema: &mut Schema) {
    let format = schema.get("format").and_then(Value::as_str);
    let is_of_integer =
        format.is_some_and(|format| format.starts_with("int") || format.starts_with("uint"));
    if is_of_integer {
        schema.remove("format");
    }
}

/// A response has the described members and no others.
fn close_object(schema: &mut Schema) {
    let is_closed = schema
        .get("additionalProperties")
        .or(schema.get("unevaluatedProperties"))
        .is_some();
    if schema.get("properties").is_some() && schema.get("$ref").is_none() && !is_closed {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}
