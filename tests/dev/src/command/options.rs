//! The command line of `cargo dev`.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, bail};
use lexopt::{Arg, Parser, ValueExt};

pub const HELP: &str = "\
Runs the whole control plane on this machine: its own Postgres server, every function behind one port,
the schedules, and a host for agents if the machine can be one. Ctrl-C stops everything.

Usage: cargo dev [options]

  --time-lapse [SECONDS]  run a fresh demo in which an hour passes every 3 (or SECONDS) seconds
  --ticks N               stop after N billing runs; the exit status is 1 if one of them failed
  --fresh                 remove the data of earlier runs first
  --port N                listen on this port (default: 8787, or the next free one)
  --no-host               start no host; agents cannot be started then
  --no-sim                start no simulated hosts
  --release               build and run the functions with the release profile
  --help                  print this

LOG_LEVEL (error, warn, info, debug) selects the functions' log lines that appear (default: warn).
";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a command line switch"
)]
pub struct Options {
    /// Removes the data of earlier runs first.
    pub fresh: bool,
    /// The length of a simulated hour; `None` means real time.
    pub time_lapse: Option<Duration>,
    /// Stops after this many ticks; `None` means never.
    pub ticks: Option<u32>,
    /// The only port to try; `None` means the first free one.
    pub port: Option<u16>,
    pub no_host: bool,
    pub no_sim: bool,
    pub release: bool,
    pub help: bool,
}

impl Options {
    /// Parses a command line without the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut options = Self::default();
        let mut parser = Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("fresh") => options.fresh = true,
                Arg::Long("no-host") => options.no_host = true,
                Arg::Long("no-sim") => options.no_sim = true,
                Arg::Long("release") => options.release = true,
                Arg::Long("help") | Arg::Short('h') => options.help = true,
                Arg::Long("time-lapse") => options.time_lapse = Some(hour_length(&mut parser)?),
                Arg::Long("ticks") => match parser.value()?.parse()? {
                    0 => bail!("--ticks must be at least 1"),
                    ticks => options.ticks = Some(ticks),
                },
                Arg::Long("port") => options.port = Some(parser.value()?.parse()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }
}

/// The optional number after `--time-lapse`, with or without an equals sign.
fn hour_length(parser: &mut Parser) -> Result<Duration> {
    let attached = parser.optional_value();
    let value = match attached {
        Some(value) => Some(value),
        None => parser
            .try_raw_args()
            .and_then(|mut rest| rest.next_if(|next| !next.to_string_lossy().starts_with('-'))),
    };
    let seconds: f64 = match value {
        Some(value) => value.parse()?,
        None => 3.0,
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => bail!("--time-lapse must be a positive number of seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn seconds_of_time_lapse_are_optional() {
        for (line, seconds, ticks) in [
            ("--time-lapse", 3.0, None),
            ("--time-lapse --ticks 4", 3.0, Some(4)),
            ("--time-lapse 1 --ticks 4", 1.0, Some(4)),
            ("--ticks=2 --time-lapse=0.5", 0.5, Some(2)),
        ] {
            let options = parsed(line).unwrap();
            let expected = Duration::from_secs_f64(seconds);
            assert_eq!(options.time_lapse, Some(expected), "{line}");
            assert_eq!(options.ticks, ticks, "{line}");
        }
    }

    #[test]
    fn switches_are_off_by_default() {
        let options = parsed("--no-host --no-sim --fresh").unwrap();
        let expected = Options {
            no_host: true,
            no_sim: true,
            fresh: true,
            ..Options::default()
        };
        assert_eq!(options, expected);
        assert_eq!(parsed("").unwrap(), Options::default());
    }

    #[test]
    fn invalid_command_lines_are_refused() {
        for line in [
            "--tick 4",
            "--ticks",
            "--ticks 0",
            "--ticks x",
            "--time-lapse 0",
            "--time-lapse x",
            "--port 70000",
            "start",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
