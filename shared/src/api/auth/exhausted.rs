//! Credentials that are used too often. Owns: refusing them again for a second without a statement, so that whoever
//! ignores a refusal takes no time of the database that everybody shares. Does not own: counting, which the database does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::problem::Problem;

/// So soon a changed limit, a revoked key or a new minute counts.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// A function serves few callers within a second. Further ones are looked up each time.
const MAX_REMEMBERED: usize = 1_000;

#[derive(Debug, Default)]
pub struct ExhaustedCredentials(Mutex<HashMap<String, Refusal>>);

#[derive(Debug)]
struct Refusal {
    at: Instant,
    problem: Problem,
}

impl ExhaustedCredentials {
    /// The refusal that this credential got within the last second.
    pub(super) fn refusal(&self, credential: &str, now: Instant) -> Option<Problem> {
        let refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = refusals.get(credential)?;
        (now.duration_since(refusal.at) < REMEMBERED_FOR).then(|| refusal.problem.clone())
    }

    pub(super) fn remember(&self, credential: String, problem: &Problem, now: Instant) {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.retain(|_, refusal| now.duration_since(refusal.at) < REMEMBERED_FOR);
        if refusals.len() < MAX_REMEMBERED {
            let problem = problem.clone();
            refusals.insert(credential, Refusal { at: now, problem });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f49_a_refusal_is_remembered_for_a_second_and_only_for_its_credential() {
        let exhausted = ExhaustedCredentials::default();
        let refusal = Problem::too_many_requests(7, "The limit is reached".to_owned());
        let now = Instant::now();
        exhausted.remember("a".to_owned(), &refusal, now);
        assert_eq!(exhausted.refusal("a", now), Some(refusal.clone()));
        assert_eq!(exhausted.refusal("b", now), None);
        assert_eq!(exhausted.refusal("a", now + REMEMBERED_FOR), None);
        for n in 0..2 * MAX_REMEMBERED {
            exhausted.remember(n.to_string(), &refusal, now);
        }
        let remembered = |n: usize| exhausted.refusal(&n.to_string(), now).is_some();
        assert_eq!(
            (0..2 * MAX_REMEMBERED).filter(|n| remembered(*n)).count(),
            MAX_REMEMBERED - 1
        );
        // What is forgotten makes room.
        let later = now + REMEMBERED_FOR;
        exhausted.remember("c".to_owned(), &refusal, later);
        assert!(exhausted.refusal("c", later).is_some());
    }
}
