//! The command line of `cargo dev`.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, bail};
use lexopt::{Arg, Parser, ValueExt};

/// What `cargo dev --help` prints.
pub const HELP: &str = "\
Runs the whole control plane on this machine: a Postgres server of its own, every function behind one
port, the hourly billing run, and a host for agents where the machine can be one. Ctrl-C stops all of it.

Usage: cargo dev [options]

  --time-lapse [SECONDS]  an hour of a fresh demo passes every 3 (or SECONDS) seconds
  --ticks N               stop after N billing runs; the exit status is 1 if one of them failed
  --fresh                 throw the data of earlier runs away first
  --port N                listen on this port (default: 8787, or the next free one)
  --no-host               start no host: agents cannot be started then
  --no-sim                have no simulated hosts beside it
  --release               build and run the functions as they ship
  --help                  print this

LOG_LEVEL (error, warn, info, debug) says which of the functions' log lines appear; default warn.
";

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct Options {
    /// Start over with an empty database.
    pub fresh: bool,
    /// How long a simulated hour takes; real time when not given.
    pub time_lapse: Option<Duration>,
    /// Stop after so many ticks.
    pub ticks: Option<u32>,
    /// The port to listen on, and on no other.
    pub port: Option<u16>,
    /// Start no host.
    pub no_host: bool,
    /// Have no simulated hosts.
    pub no_sim: bool,
    /// Build with the release profile.
    pub release: bool,
    /// Only print the help.
    pub help: bool,
}

impl Options {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// When it is not understood.
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
                Arg::Long("time-lapse") => options.time_lapse = Some(seconds(&mut parser)?),
                Arg::Long("ticks") => match parser.value()?.parse()? {
                    0 => bail!("--ticks wants at least 1"),
                    ticks => options.ticks = Some(ticks),
                },
                Arg::Long("port") => options.port = Some(parser.value()?.parse()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }
}

/// The number that may follow `--time-lapse`, with or without an equals sign.
fn seconds(parser: &mut Parser) -> Result<Duration> {
    let attached = parser.optional_value();
    let given = match attached {
        Some(value) => Some(value),
        None => parser
            .try_raw_args()
            .and_then(|mut rest| rest.next_if(|next| !next.to_string_lossy().starts_with('-'))),
    };
    let seconds: f64 = match given {
        Some(value) => value.parse()?,
        None => 3.0,
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => bail!("--time-lapse wants a number of seconds above zero"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn the_seconds_of_time_lapse_are_optional() {
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
    fn what_is_not_wanted_is_left_out() {
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
    fn a_line_that_is_not_understood_is_refused() {
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
