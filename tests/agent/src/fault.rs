//! The fault that the environment variable `SAMPLE_FAULT` makes the agent show.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    None,
    /// `exit`: exits at once with status 3.
    Exit,
    /// `unhealthy`: the health check answers with status 503.
    Unhealthy,
    /// `silent`: accepts connections and requests but never answers.
    Silent,
    /// `mute`: passes the health check but never answers on the bridge.
    Mute,
    /// `garbage`: the bridge and the snapshot answer with text that is not JSON.
    Garbage,
    /// `big:<MiB>`: the snapshot has at least this many bytes.
    Big(usize),
    /// `slow:<seconds>`: delays every answer by this time.
    Slow(Duration),
    /// `pausing:<seconds>`: a stream pauses for this time after each piece.
    Pausing(Duration),
}

impl Fault {
    /// Parses the variable; unset or empty means no fault. An unknown name is an error: a test with
    /// a misspelt fault would pass without testing anything.
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
        fault.ok_or_else(|| format!("SAMPLE_FAULT is not a known fault: {text:?}"))
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
    fn each_fault_parses_from_its_name_and_unknown_text_is_refused() {
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
