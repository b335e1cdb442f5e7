//! Matches requests to the routes of a template.

use std::collections::BTreeMap;

use super::event::decoded;
use crate::template::Template;

#[derive(Clone, Debug)]
pub struct Routes {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    method: String,
    path: String,
    function: String,
    is_streamed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    pub function: String,
    /// The route key: `GET /agents/{agentId}` or `$default`.
    pub key: String,
    /// Decoded path parameters.
    pub parameters: BTreeMap<String, String>,
    /// Whether the target is a function URL, which streams. Such a URL has no routes: its key is
    /// `$default` and it has no path parameters.
    pub is_streamed: bool,
}

impl Routes {
    #[must_use]
    pub fn new(template: &Template) -> Self {
        let mut entries: Vec<Entry> = template
            .functions
            .iter()
            .flat_map(|function| {
                function.routes.iter().map(|route| Entry {
                    method: route.method.clone(),
                    path: route.path.clone(),
                    function: function.name.clone(),
                    is_streamed: route.is_streamed,
                })
            })
            .collect();
        // API Gateway prefers the most specific route. Sorted this way, the first match is that
        // route.
        entries.sort_by_key(|entry| (rank(&entry.path), entry.method == "ANY"));
        Self { entries }
    }

    /// The route of a request. `path` is still percent-encoded.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Option<RouteMatch> {
        self.entries.iter().find_map(|entry| {
            if entry.path == "$default" {
                return Some(entry.route_match(BTreeMap::new()));
            }
            if entry.method != "ANY" && entry.method != method {
                return None;
            }
            match_path(&entry.path, path).map(|parameters| entry.route_match(parameters))
        })
    }
}

impl Entry {
    fn route_match(&self, parameters: BTreeMap<String, String>) -> RouteMatch {
        let (key, parameters) = match self.path.as_str() {
            path if path == "$default" || self.is_streamed => {
                ("$default".to_owned(), BTreeMap::new())
            }
            path => (format!("{} {path}", self.method), parameters),
        };
        RouteMatch {
            function: self.function.clone(),
            key,
            parameters,
            is_streamed: self.is_streamed,
        }
    }
}

/// Sort key, per segment: fixed text before a parameter before a greedy parameter; `$default` last.
fn rank(path: &str) -> Vec<u8> {
    if path == "$default" {
        return vec![u8::MAX];
    }
    path.split('/')
        .map(|segment| match segment.strip_prefix('{') {
            None => 0,
            Some(name) if name.ends_with("+}") => 2,
            Some(_) => 1,
        })
        .collect()
}

/// Matches a path and returns its parameters. A path with an extra or a missing slash does not
/// match.
fn match_path(pattern: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    let mut rest = Some(path);
    for segment in pattern.split('/') {
        let name = segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        if let Some(greedy) = name.and_then(|name| name.strip_suffix('+')) {
            let rest = rest.filter(|rest| !rest.is_empty())?;
            parameters.insert(greedy.to_owned(), decoded(rest));
            return Some(parameters);
        }
        let (first, after) = match rest?.split_once('/') {
            Some((first, after)) => (first, Some(after)),
            None => (rest?, None),
        };
        match name {
            Some(name) if !first.is_empty() => {
                parameters.insert(name.to_owned(), decoded(first));
            }
            None if first == segment => {}
            _ => return None,
        }
        rest = after;
    }
    rest.is_none().then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(paths: &[&str]) -> Routes {
        let events: String = paths
            .iter()
            .enumerate()
            .map(|(n, path)| match path.split_once(' ') {
                Some((method, path)) => format!(
                    "        E{n}: {{Type: HttpApi, Properties: {{Method: {method}, Path: \"{path}\"}}}}\n"
                ),
                None => format!("        E{n}: {{Type: HttpApi}}\n"),
            })
            .collect();
        let text = format!(
            "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
             CodeUri: target/lambda/f/\n      Events:\n{events}"
        );
        Routes::new(&Template::parse(&text).unwrap())
    }

    #[test]
    fn most_specific_route_wins_and_default_takes_the_rest() {
        let routes = routes(&[
            "$default",
            "GET /nodes/{nodeId}",
            "POST /nodes/sync",
            "ANY /nodes/{nodeId}/{rest+}",
            "GET /nodes/all",
        ]);
        for (method, path, key) in [
            ("GET", "/nodes/n1", "GET /nodes/{nodeId}"),
            ("GET", "/nodes/all", "GET /nodes/all"),
            ("POST", "/nodes/sync", "POST /nodes/sync"),
            ("PUT", "/nodes/n1/a/b", "ANY /nodes/{nodeId}/{rest+}"),
            ("POST", "/nodes/n1", "$default"),
            ("GET", "/", "$default"),
        ] {
            assert_eq!(
                routes.find(method, path).unwrap().key,
                key,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn function_url_matches_by_path_but_gets_no_parameters() {
        let text = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Metadata: {Routes: [\"POST \
            /a/{id}/stream\"]}\n    Properties:\n      CodeUri: target/lambda/f/\n      \
            FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM}\n";
        let routes = Routes::new(&Template::parse(text).unwrap());
        let expected = RouteMatch {
            function: "f".to_owned(),
            key: "$default".to_owned(),
            parameters: BTreeMap::new(),
            is_streamed: true,
        };
        assert_eq!(routes.find("POST", "/a/x/stream"), Some(expected));
        assert_eq!(routes.find("GET", "/a/x/stream"), None);
        assert_eq!(routes.find("POST", "/a/x"), None);
    }

    #[test]
    fn parameters_are_decoded_and_unknown_paths_do_not_match() {
        let routes = routes(&["GET /a/{id}/b"]);
        let route = routes.find("GET", "/a/x%2Fy/b").unwrap();
        assert_eq!(route.parameters["id"], "x/y");
        for path in ["/a//b", "/a/x", "/a/x/b/c", "/a/x/b/", "//a/x/b", "/"] {
            assert_eq!(routes.find("GET", path), None, "{path}");
        }
    }
}
