//! What an agent was told to do wrong, by the environment variable `SAMPLE_FAULT`.

use std::time::Duration;

/// One way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None: a good agent.
    None,
    /// `exit`: ends at once with status 3.
    Exit,
    /// `unhealthy`: the health check answers 503.
    Unhealthy,
    /// `silent`: accepts connections and requests, and never answers.
    Silent,
    /// `mute`: is healthy, and never answers on the bridge.
    Mute,
    /// `garbage`: the bridge and the snapshot answer text that is no JSON.
    Garbage,
    /// `big:<MiB>`: the snapshot has at least this many bytes.
    Big(usize),
    /// `slow:<seconds>`: every answer takes this long.
    Slow(Duration),
    /// `pausing:<seconds>`: a stream is silent for this long after each of its pieces.
    Pausing(Duration),
}

impl Fault {
    /// Reads what the variable says; unset or empty is no fault.
    ///
    /// # Errors
    /// When it names no fault. A misspelt fault would make a test prove nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let fault = match (name, value) {
            ("", "") => Some(Self::None),
            ("exit", "") => Some(Self::Exit),
            ("unhealthy", "") => Some(Self::Unhealthy),
            ("silent", "") => Some(Self::Silent),
            ("mute", "") => Some(Self::Mute),
            ("garbage", "") => Some(Self::Garbage),
            ("big", value) => mebibytes(value).map(Self::Big),
            ("slow", value) => seconds(value).map(Self::Slow),
            ("pausing", value) => seconds(value).map(Self::Pausing),
            _ => None,
        };
        fault.ok_or_else(|| format!("SAMPLE_FAULT names no fault: {text:?}"))
    }
}

fn mebibytes(text: &str) -> Option<usize> {
    text.parse::<usize>().ok()?.checked_mul(1024 * 1024)
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_name_and_nothing_else_is_taken_for_one() {
        for (text, fault) in [
            ("", Fault::None),
            ("exit", Fault::Exit),
            ("unhealthy", Fault::Unhealthy),
            ("silent", Fault::Silent),
            ("mute", Fault::Mute),
            ("garbage", Fault::Garbage),
            ("big:2", Fault::Big(2_097_152)),
            ("slow:1.5", Fault::Slow(Duration::from_millis(1_500))),
            ("pausing:16", Fault::Pausing(Duration::from_secs(16))),
        ] {
            assert_eq!(Fault::parse(text), Ok(fault), "{text}");
        }
        for text in ["exit:1", "big", "big:-1", "slow", "slow:x", "slow:-1", "?"] {
            assert!(Fault::parse(text).is_err(), "{text}");
        }
    }
}
