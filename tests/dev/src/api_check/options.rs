//! The command line of `cargo api-check`.

use std::ffi::OsString;

use anyhow::Result;
use lexopt::{Arg, Parser, ValueExt};

pub(super) const HELP: &str = "\
Starts the whole control plane with an empty demo database and tests every route against the API's own
description, with requests that match it and requests that do not. The exit status is 1 if an answer
differs from the description or too few requests were sent. Needs Python 3; installs Schemathesis below
target/.

Usage: cargo api-check [options]

  --cases N   send at least N requests (default: 3000)
  --seed N    seed of the generated requests (default: 1; the same seed gives the same requests)
  --help      print this
";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) cases: usize,
    pub(super) seed: u32,
    pub(super) help: bool,
}

impl Options {
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut options = Self {
            cases: 3_000,
            seed: 1,
            help: false,
        };
        let mut parser = Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("cases") => options.cases = parser.value()?.parse()?,
                Arg::Long("seed") => options.seed = parser.value()?.parse()?,
                Arg::Long("help") | Arg::Short('h') => options.help = true,
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_command_lines_parse_and_others_are_refused() {
        let parsed = |line: &str| Options::parse(line.split_whitespace().map(Into::into));
        let options = parsed("--cases 400 --seed=7").unwrap();
        assert_eq!((options.cases, options.seed), (400, 7));
        assert_eq!(parsed("").unwrap().cases, 3_000);
        for line in ["--case 4", "--cases", "--cases -1", "400"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
