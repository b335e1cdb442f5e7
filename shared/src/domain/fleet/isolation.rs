//! Whether a host keeps its agents away from what is not theirs (F77). Owns: what counts as a gap. Does not own: the rules
//! of the host's packet filter (`functions/hosts/milady-isolation`).

use super::severity::Severity;

/// The host reads its rules back every minute. A few failures in a row are no gap yet.
const MAX_REPORT_AGE_SECONDS: u64 = 5 * 60;

/// What a host says about its packet filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PacketFilter {
    /// The host's figures were not read.
    #[default]
    Unknown,
    /// The host has no report.
    NotReported,
    /// The host found its rules in place.
    InPlace {
        age_seconds: u64,
        /// The bridges that the rules are for, as iptables writes them: a `+` at the end stands for any text.
        bridges: Vec<String>,
        /// The addresses with ports that could be reached from inside although they must not be.
        reached: Vec<String>,
        /// The bridges from inside of which nothing could be tried.
        unprobed: Vec<String>,
    },
}

/// A network of the agents on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentsNetwork {
    /// The name of its bridge on the host.
    pub bridge: String,
    /// Whether it keeps agents from reaching each other.
    pub separates_agents: bool,
}

/// Why the agents of a host count as not isolated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsolationGap {
    #[error("their network lets them reach each other")]
    AgentsReachEachOther,
    /// Addresses, separated by commas.
    #[error("from inside their network can be reached: {0}")]
    Reached(String),
    #[error("the rules of the host leave out the bridge {0}")]
    BridgeLeftOut(String),
    #[error("the host does not report the rules of its packet filter")]
    NotReported,
    #[error("the host last found its rules in place {0} minutes ago")]
    Outdated(u64),
    #[error("the host could not try what can be reached from inside the bridge {0}")]
    NotProbed(String),
}

impl IsolationGap {
    /// The worst gap of a host; `None` if there is none, or if nothing was read.
    #[must_use]
    pub fn find(filter: &PacketFilter, networks: &[AgentsNetwork]) -> Option<Self> {
        if networks.iter().any(|network| !network.separates_agents) {
            return Some(Self::AgentsReachEachOther);
        }
        let (age_seconds, bridges, reached, unprobed) = match filter {
            PacketFilter::Unknown => return None,
            PacketFilter::NotReported => return Some(Self::NotReported),
            PacketFilter::InPlace {
                age_seconds,
                bridges,
                reached,
                unprobed,
            } => (*age_seconds, bridges, reached, unprobed),
        };
        if !reached.is_empty() {
            return Some(Self::Reached(reached.join(", ")));
        }
        let is_covered = |network: &AgentsNetwork| {
            bridges
                .iter()
                .any(|pattern| matches(pattern, &network.bridge))
        };
        if let Some(network) = networks.iter().find(|network| !is_covered(network)) {
            return Some(Self::BridgeLeftOut(network.bridge.clone()));
        }
        if age_seconds > MAX_REPORT_AGE_SECONDS {
            return Some(Self::Outdated(age_seconds / 60));
        }
        unprobed.first().cloned().map(Self::NotProbed)
    }

    /// A gap that was seen is critical. Where the host only says nothing, there may be none.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::AgentsReachEachOther | Self::Reached(_) | Self::BridgeLeftOut(_) => {
                Severity::Critical
            }
            Self::NotReported | Self::Outdated(_) | Self::NotProbed(_) => Severity::Warning,
        }
    }
}

fn matches(pattern: &str, bridge: &str) -> bool {
    match pattern.strip_suffix('+') {
        Some(prefix) => bridge.starts_with(prefix),
        None => bridge == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::super::alert::{Alert, AlertCode, HostCondition, alerts};
    use super::super::fixtures::{host_row, now, observed};
    use super::super::observation::{EngineObservation, HostInspection};
    use super::*;

    fn in_place(age_seconds: u64, bridges: &[&str]) -> PacketFilter {
        PacketFilter::InPlace {
            age_seconds,
            bridges: bridges.iter().map(|bridge| (*bridge).to_owned()).collect(),
            reached: Vec::new(),
            unprobed: Vec::new(),
        }
    }

    /// A host that tried from inside, and found these.
    fn probed(age_seconds: u64, reached: &[&str], unprobed: &[&str]) -> PacketFilter {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        PacketFilter::InPlace {
            age_seconds,
            bridges: texts(&["mly-+"]),
            reached: texts(reached),
            unprobed: texts(unprobed),
        }
    }

    fn network(bridge: &str, separates_agents: bool) -> AgentsNetwork {
        AgentsNetwork {
            bridge: bridge.to_owned(),
            separates_agents,
        }
    }

    #[test]
    fn f77_a_gap_is_a_shared_network_what_is_reached_a_bridge_without_rules_or_a_missing_report() {
        use PacketFilter::{NotReported, Unknown};
        let own = network("mly-0123456789a", true);
        let older = network("br-0123456789ab", true);
        let left_out = || Some(IsolationGap::BridgeLeftOut("br-0123456789ab".to_owned()));
        for (filter, networks, gap) in [
            (in_place(59, &["mly-+"]), vec![own.clone()], None),
            (in_place(300, &["mly-+"]), vec![own.clone()], None),
            (in_place(59, &["mly-+"]), vec![], None),
            (
                in_place(59, &["mly-+", "br-0123456789ab"]),
                vec![own.clone(), older.clone()],
                None,
            ),
            (
                in_place(301, &["mly-+"]),
                vec![own.clone()],
                Some(IsolationGap::Outdated(5)),
            ),
            (
                in_place(59, &["mly-+"]),
                vec![own.clone(), older.clone()],
                left_out(),
            ),
            (in_place(59, &["br-0"]), vec![older.clone()], left_out()),
            (in_place(59, &[]), vec![older], left_out()),
            (
                probed(301, &["169.254.169.254:80", "10.0.0.1:80"], &["mly-1"]),
                vec![own.clone()],
                Some(IsolationGap::Reached(
                    "169.254.169.254:80, 10.0.0.1:80".to_owned(),
                )),
            ),
            (
                probed(301, &[], &["mly-1"]),
                vec![own.clone()],
                Some(IsolationGap::Outdated(5)),
            ),
            (
                probed(59, &[], &["mly-1"]),
                vec![own.clone()],
                Some(IsolationGap::NotProbed("mly-1".to_owned())),
            ),
            (
                NotReported,
                vec![own.clone()],
                Some(IsolationGap::NotReported),
            ),
            (Unknown, vec![own.clone()], None),
            (
                Unknown,
                vec![own, network("mly-1", false)],
                Some(IsolationGap::AgentsReachEachOther),
            ),
        ] {
            assert_eq!(IsolationGap::find(&filter, &networks), gap, "{filter:?}");
        }
    }

    fn only_alert(engine: EngineObservation) -> Alert {
        let mut observation = observed(Ok(engine));
        observation.facts.packet_filter = PacketFilter::NotReported;
        let inspection = HostInspection::Observed(Box::new(observation));
        let row = host_row("a");
        let host = HostCondition {
            row: &row,
            inspection: &inspection,
            utilization_pct: 0,
            drift: Some(0),
            expected_containers: 1,
        };
        let mut alerts = alerts(&host, now());
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        alerts.remove(0)
    }

    #[test]
    fn f77_a_host_that_does_not_isolate_its_agents_gives_an_alert() {
        let unknown = only_alert(EngineObservation::default());
        assert_eq!(
            (unknown.severity, unknown.code, unknown.text.as_str()),
            (
                Severity::Warning,
                AlertCode::Isolation,
                "Nothing shows that the agents are isolated: the host does not report the rules of its packet filter"
            )
        );
        let shared = only_alert(EngineObservation {
            networks: vec![network("br-0123456789ab", false)],
            ..EngineObservation::default()
        });
        assert_eq!(
            (shared.severity, shared.text.as_str()),
            (
                Severity::Critical,
                "The agents are not isolated: their network lets them reach each other"
            )
        );
    }
}
