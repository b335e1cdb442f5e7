//! The command line of `cargo api-check`.

use clap::{Parser, ValueEnum};

use super::role::Role;

/// Starts the whole control plane with an empty demo database and tests every route against the API's own description,
/// with requests that match it and requests that do not. The exit status is 1 if an answer differs from the
/// description or too few requests were sent. Needs Python 3; installs Schemathesis below target/.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(bin_name = "cargo api-check", verbatim_doc_comment)]
pub struct Options {
    /// Send at least N requests
    #[arg(long, value_name = "N", default_value_t = 3_000)]
    pub cases: usize,
    /// Seed of the generated requests; the same seed gives the same requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u32,
    /// Connect the functions through PgBouncer in transaction mode
    #[arg(long)]
    pub pooler: bool,
    /// Whose key the requests have
    #[arg(long, value_enum, default_value_t = Role::Operator)]
    pub role: Role,
    /// Test once with each role's key, each with a fresh database
    #[arg(long, conflicts_with = "role")]
    pub all_roles: bool,
}

impl Options {
    pub(super) fn roles(&self) -> &[Role] {
        if self.all_roles {
            Role::value_variants()
        } else {
            std::slice::from_ref(&self.role)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_command_lines_parse_and_others_are_refused() {
        let parsed = |line: &str| {
            Options::try_parse_from(["api-check"].into_iter().chain(line.split_whitespace()))
        };
        let options = parsed("--cases 400 --seed=7").unwrap();
        assert_eq!((options.cases, options.seed), (400, 7));
        assert_eq!(parsed("").unwrap().cases, 3_000);
        for (line, roles) in [
            ("", vec![Role::Operator]),
            ("--role viewer", vec![Role::Viewer]),
            ("--all-roles", Role::value_variants().to_vec()),
        ] {
            assert_eq!(parsed(line).unwrap().roles(), roles, "{line}");
        }
        for line in [
            "--case 4",
            "--cases",
            "--cases -1",
            "400",
            "--role nobody",
            "--role owner --all-roles",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
