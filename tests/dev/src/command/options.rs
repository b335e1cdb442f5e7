//! The command line of `cargo dev`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, value_parser};

/// Runs the whole control plane on this machine: its own Postgres server, every function behind one port, the
/// schedules, and a host for agents if the machine can be one. Ctrl-C stops everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Parser)]
#[command(
    bin_name = "cargo dev",
    verbatim_doc_comment,
    after_help = "LOG_LEVEL (error, warn, info, debug) selects the functions' log lines that appear (default: warn)."
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a command line switch"
)]
pub struct Options {
    /// Run a fresh demo in which an hour passes every SECONDS seconds (3 if not given)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "3", value_parser = hour_length)]
    pub time_lapse: Option<Duration>,
    /// Stop after N billing runs; the exit status is 1 if one of them failed
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub runs: Option<u32>,
    /// Remove the data of earlier runs first
    #[arg(long)]
    pub fresh: bool,
    /// Listen on this port only, instead of 8787 or the next free one
    #[arg(long)]
    pub port: Option<u16>,
    /// Start no host; agents cannot be started then
    #[arg(long)]
    pub no_host: bool,
    /// Start a host also with --time-lapse, and an agent there whose owner pays too late
    #[arg(long, conflicts_with = "no_host")]
    pub host: bool,
    /// Start no simulated hosts
    #[arg(long)]
    pub no_sim: bool,
    /// Connect the functions through PgBouncer in transaction mode, with fewer sessions than functions
    #[arg(long)]
    pub pooler: bool,
    /// Also serve the dashboard's sources with hot reload, on port 5173
    #[arg(long)]
    pub web: bool,
    /// Serve the dashboard as it was built last, without building it
    #[arg(long)]
    pub no_dashboard: bool,
    /// Keep the data in DIRECTORY instead of target/dev
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<PathBuf>,
    /// Build and run the functions with the release profile
    #[arg(long)]
    pub release: bool,
}

/// The length of a simulated hour, from a number of seconds.
fn hour_length(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be a positive number of seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(["dev"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn seconds_of_time_lapse_are_optional() {
        for (line, seconds, runs) in [
            ("--time-lapse", 3.0, None),
            ("--time-lapse --runs 4", 3.0, Some(4)),
            ("--time-lapse 1 --runs 4", 1.0, Some(4)),
            ("--runs=2 --time-lapse=0.5", 0.5, Some(2)),
        ] {
            let options = parsed(line).unwrap();
            let expected = Duration::from_secs_f64(seconds);
            assert_eq!(options.time_lapse, Some(expected), "{line}");
            assert_eq!(options.runs, runs, "{line}");
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
            "--run 4",
            "--runs",
            "--runs 0",
            "--runs x",
            "--time-lapse 0",
            "--time-lapse x",
            "--time-lapse -1",
            "--time-lapse 1e40",
            "--port 70000",
            "--host --no-host",
            "start",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
