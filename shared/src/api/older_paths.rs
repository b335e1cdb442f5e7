//! The paths by which clients of the earlier deployment call some of our routes. Each leads to the same function as the
//! path of the route. Owns: which routes have one.

use std::borrow::Cow;

/// A path, or the beginning of one.
struct RenamedPath {
    current: &'static str,
    older: &'static str,
}

const RENAMED_PATHS: &[RenamedPath] = &[
    RenamedPath {
        current: "/api/v1/milady/agents",
        older: "/api/v1/milaidy/agents",
    },
    RenamedPath {
        current: "/api/v1/credits/balance",
        older: "/api/credits/balance",
    },
];

/// The older path of a route; `None` if it has none.
#[must_use]
pub fn older(path: &str) -> Option<String> {
    let mut renamed = RENAMED_PATHS.iter();
    renamed.find_map(|renamed| with_other_beginning(path, renamed.current, renamed.older))
}

/// The path that a request would have if its client knew no older ones.
#[must_use]
pub fn current(path: &str) -> Cow<'_, str> {
    let mut renamed = RENAMED_PATHS.iter();
    let current =
        renamed.find_map(|renamed| with_other_beginning(path, renamed.older, renamed.current));
    current.map_or(Cow::Borrowed(path), Cow::Owned)
}

fn with_other_beginning(path: &str, from: &str, to: &str) -> Option<String> {
    let rest = path.strip_prefix(from)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_paths_and_current_ones_lead_to_each_other_by_whole_segments() {
        for (path, known) in [
            ("/api/v1/milady/agents", Some("/api/v1/milaidy/agents")),
            (
                "/api/v1/milady/agents/{agentId}/stream",
                Some("/api/v1/milaidy/agents/{agentId}/stream"),
            ),
            ("/api/v1/credits/balance", Some("/api/credits/balance")),
            ("/api/v1/milady/agentsx", None),
            ("/api/v1/milady/config", None),
            ("/api/v1/credits/transactions", None),
            ("/x/api/v1/milady/agents", None),
        ] {
            assert_eq!(older(path).as_deref(), known, "{path}");
            assert_eq!(current(known.unwrap_or(path)), path);
        }
        assert_eq!(
            current("/api/v1/milaidy/agentsx"),
            "/api/v1/milaidy/agentsx"
        );
    }
}
