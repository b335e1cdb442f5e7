//! The rules of `functions/edge.yaml`, as AWS WAF applies them in front of CloudFront.
//!
//! Owns: counting, in memory, and refusing at the lowest cost. Does not own: the rules, and the limits of the
//! functions. WAF estimates rates and takes up to half a minute to notice a flood; this counts exactly and at once.
//! Like WAF, it also counts what it refuses, so that a flood is refused until it ends.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::template::{self, EdgeKey, EdgeRefusal, EdgeRule};

/// A window moves on by this part of it.
const PARTS_OF_WINDOW: u32 = 12;

/// For how many keys a rule counts at a time, as in WAF.
const MAX_KEYS: usize = 10_000;

/// How many keys are forgotten at once, so that only few new keys have to look for the oldest ones.
const FORGOTTEN_KEYS: usize = MAX_KEYS / 10;

#[derive(Debug)]
pub(super) struct Edge {
    rules: Vec<Rule>,
    started: Instant,
}

#[derive(Debug)]
struct Rule {
    key: EdgeKey,
    limit: u64,
    /// The length of a part of the window.
    part: Duration,
    refusal: Refusal,
    /// With a key of its own, so that nobody can choose credentials with the same hash.
    hasher: RandomState,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Requests by the hash of their key: what the key is, is not kept.
#[derive(Debug, Default)]
struct Counts {
    /// Of all keys, since the start.
    requests: u64,
    by_key: HashMap<u64, Recent>,
}

/// The requests of one key.
#[derive(Debug, Default)]
struct Recent {
    /// The number of a part, counted from the start, and its requests. The newest part is the last.
    parts: VecDeque<(u64, u64)>,
    /// The value of [`Counts::requests`] at the last request.
    last: u64,
}

impl Edge {
    pub(super) fn new(edge: &template::Edge) -> Result<Self> {
        let rules = edge.rules.iter().map(|rule| {
            Rule::new(rule).with_context(|| format!("in rule {} of the edge", rule.name))
        });
        Ok(Self {
            rules: rules.collect::<Result<_>>()?,
            started: Instant::now(),
        })
    }

    /// Counts a request. Returns the answer if a rule refuses it.
    pub(super) fn refuse(
        &self,
        address: IpAddr,
        headers: &HeaderMap,
        now: Instant,
    ) -> Option<Response<Body>> {
        let time = now.duration_since(self.started);
        let refusing = self
            .rules
            .iter()
            .find(|rule| rule.is_exceeded(address, headers, time))?;
        Some(refusing.refusal.response())
    }
}

impl Rule {
    fn new(rule: &EdgeRule) -> Result<Self> {
        Ok(Self {
            key: rule.key.clone(),
            limit: rule.limit,
            part: rule.window / PARTS_OF_WINDOW,
            refusal: Refusal::new(&rule.refusal)?,
            hasher: RandomState::new(),
            counts: Mutex::default(),
        })
    }

    /// Counts a request and returns whether it is one too many. `time` is counted from the start.
    fn is_exceeded(&self, address: IpAddr, headers: &HeaderMap, time: Duration) -> bool {
        let Some(key) = self.key(address, headers) else {
            return false;
        };
        let part = time.as_nanos() / self.part.as_nanos().max(1);
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.add(key, part) > self.limit
    }

    /// A hash of what the rule counts by. `None` if the request has nothing of the kind.
    fn key(&self, address: IpAddr, headers: &HeaderMap) -> Option<u64> {
        let values: Vec<&[u8]> = match &self.key {
            EdgeKey::Address => return Some(self.hasher.hash_one(address)),
            EdgeKey::Header(name) => {
                let values = headers.get_all(name.as_str()).iter();
                values.map(HeaderValue::as_bytes).collect()
            }
            EdgeKey::Cookie(name) => cookies(headers, name).collect(),
        };
        (!values.is_empty()).then(|| self.hasher.hash_one(values))
    }
}

/// The values of the cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(header::COOKIE).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(cookie, _)| *cookie == name)
        .map(|(_, value)| value.as_bytes())
}

impl Counts {
    /// Counts a request in this part and returns how many the key has within the window.
    fn add(&mut self, key: u64, part: u64) -> u64 {
        if self.by_key.len() >= MAX_KEYS && !self.by_key.contains_key(&key) {
            self.forget_oldest();
        }
        self.requests += 1;
        let recent = self.by_key.entry(key).or_default();
        recent.last = self.requests;
        recent.add(part)
    }

    /// Forgets the keys whose last requests are the longest ago.
    fn forget_oldest(&mut self) {
        let mut last: Vec<u64> = self.by_key.values().map(|recent| recent.last).collect();
        let (_, newest_forgotten, _) = last.select_nth_unstable(FORGOTTEN_KEYS);
        let newest_forgotten = *newest_forgotten;
        self.by_key
            .retain(|_, recent| recent.last > newest_forgotten);
    }
}

impl Recent {
    fn add(&mut self, part: u64) -> u64 {
        let window = u64::from(PARTS_OF_WINDOW);
        self.parts.retain(|(number, _)| number + window > part);
        let is_first = self.parts.back().is_none_or(|(newest, _)| *newest < part);
        if is_first {
            self.parts.push_back((part, 0));
        }
        if let Some((_, requests)) = self.parts.back_mut() {
            *requests += 1;
        }
        self.parts.iter().map(|(_, requests)| requests).sum()
    }
}

impl Refusal {
    fn new(refusal: &EdgeRefusal) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &refusal.headers {
            let name = HeaderName::try_from(name.as_str())?;
            headers.insert(name, HeaderValue::try_from(value.as_str())?);
        }
        Ok(Self {
            status: StatusCode::from_u16(refusal.status)?,
            headers,
            body: refusal.body.clone().into(),
        })
    }

    fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn edge(rules: &[(EdgeKey, u64)]) -> Edge {
        let rules = rules.iter().map(|(key, limit)| EdgeRule {
            name: "test".to_owned(),
            key: key.clone(),
            limit: *limit,
            window: WINDOW,
            refusal: EdgeRefusal {
                status: 429,
                headers: vec![("Retry-After".to_owned(), "60".to_owned())],
                body: "{}".to_owned(),
            },
        });
        let rules = rules.collect();
        Edge::new(&template::Edge { rules }).unwrap()
    }

    fn by_key(limit: u64) -> Edge {
        edge(&[(EdgeKey::Header("x-api-key".to_owned()), limit)])
    }

    fn headers(headers: &[(&'static str, &str)]) -> HeaderMap {
        let headers = headers.iter().map(|&(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_str(value).unwrap())
        });
        headers.collect()
    }

    fn key(value: &str) -> HeaderMap {
        headers(&[("x-api-key", value)])
    }

    /// Sends so many requests at this time after the start and returns how many were refused.
    fn refused(edge: &Edge, headers: &HeaderMap, count: usize, after: Duration) -> usize {
        let now = edge.started + after;
        (0..count)
            .filter(|_| edge.refuse(HERE, headers, now).is_some())
            .count()
    }

    #[test]
    fn f49_the_edge_refuses_a_key_above_its_limit_and_no_other_one() {
        let edge = by_key(3);
        let now = Duration::ZERO;
        assert_eq!(refused(&edge, &key("flood"), 3, now), 0);
        assert_eq!(refused(&edge, &key("flood"), 5, now), 5);
        assert_eq!(refused(&edge, &key("other"), 3, now), 0);
        assert_eq!(refused(&edge, &HeaderMap::new(), 9, now), 0);
        let refusal = edge.refuse(HERE, &key("flood"), edge.started).unwrap();
        assert_eq!(refusal.status(), 429);
        assert_eq!(refusal.headers()["retry-after"], "60");
    }

    #[test]
    fn the_window_moves_on_and_what_is_refused_counts_too() {
        let edge = by_key(3);
        let flood = key("flood");
        let second = Duration::from_secs(1);
        assert_eq!(refused(&edge, &flood, 4, Duration::ZERO), 1);
        assert_eq!(refused(&edge, &flood, 2, 30 * second), 2);
        // The first four are forgotten, the two later ones are not.
        assert_eq!(refused(&edge, &flood, 2, 61 * second), 1);
        assert_eq!(refused(&edge, &flood, 3, 200 * second), 0);
        // Requests can arrive in another order than they were timed in.
        assert_eq!(refused(&edge, &flood, 1, 199 * second), 1);
    }

    #[test]
    fn cookies_and_addresses_have_limits_of_their_own() {
        let edge = edge(&[
            (EdgeKey::Cookie("session".to_owned()), 2),
            (EdgeKey::Address, 4),
        ]);
        let cookie = |text: &str| headers(&[("cookie", text)]);
        let now = Duration::ZERO;
        assert_eq!(refused(&edge, &cookie("a=1; session=x"), 2, now), 0);
        // Refused because of the cookie, so the address does not pay for it.
        assert_eq!(refused(&edge, &cookie("session=x; b=2"), 9, now), 9);
        assert_eq!(refused(&edge, &cookie("session=y"), 2, now), 0);
        assert_eq!(refused(&edge, &cookie("sessions=x"), 1, now), 1);
        assert!(
            edge.refuse(ELSEWHERE, &HeaderMap::new(), edge.started)
                .is_none()
        );
    }

    #[test]
    fn memory_is_bounded_and_a_flood_among_many_keys_stays_refused() {
        let edge = by_key(3);
        let now = Duration::ZERO;
        refused(&edge, &key("flood"), 4, now);
        for n in 0..3 * MAX_KEYS {
            assert_eq!(refused(&edge, &key(&n.to_string()), 1, now), 0);
            if n % 1_000 == 0 {
                assert_eq!(refused(&edge, &key("flood"), 1, now), 1);
            }
        }
        let counts = edge.rules[0].counts.lock().unwrap();
        let known = counts.by_key.len();
        assert!((MAX_KEYS / 2..=MAX_KEYS).contains(&known), "{known}");
    }

    #[test]
    fn no_credential_is_kept() {
        let edge = by_key(3);
        refused(&edge, &key("eliza_secret"), 4, Duration::ZERO);
        let kept = format!("{edge:?}");
        assert!(kept.contains("by_key"), "{kept}");
        assert!(!kept.contains("eliza_secret"), "{kept}");
    }
}
