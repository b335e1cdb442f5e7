//! Which Postgres servers are trusted. Owns: which authorities count, and that a server on another machine is used only
//! if its certificate was verified.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// The roots of Amazon RDS that have not expired, from <https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem>
/// as of July 2024. They are in no general store. Other providers, and RDS Proxy, use roots of the Mozilla store, which
/// the driver brings.
const RDS_ROOTS: &[u8] = include_bytes!("rds-roots.pem");
const RDS_DOMAINS: [&str; 2] = [".rds.amazonaws.com", ".rds.amazonaws.com.cn"];

/// Makes the connection verify the server: its certificate and its name. `bundle` holds further roots, in PEM.
///
/// # Errors
/// What is wrong with an address that asks for less than verification.
pub(super) fn verify_server(
    options: PgConnectOptions,
    bundle: Option<&str>,
) -> Result<PgConnectOptions, &'static str> {
    let mode = options.get_ssl_mode();
    let options = match mode {
        _ if is_on_this_machine(&options) => options,
        // The driver's default, if the address says nothing.
        PgSslMode::Prefer | PgSslMode::VerifyFull => options.ssl_mode(PgSslMode::VerifyFull),
        PgSslMode::Disable | PgSslMode::Allow => {
            return Err("allows a connection without TLS: set sslmode=verify-full");
        }
        PgSslMode::Require | PgSslMode::VerifyCa => {
            return Err("does not verify which server answers: set sslmode=verify-full");
        }
    };
    let host = options.get_host().to_ascii_lowercase();
    let is_rds = RDS_DOMAINS.iter().any(|domain| host.ends_with(domain));
    let mut roots = bundle.unwrap_or_default().as_bytes().to_vec();
    if is_rds {
        roots.push(b'\n');
        roots.extend_from_slice(RDS_ROOTS);
    }
    // An address can name a file of roots instead.
    Ok(if roots.is_empty() {
        options
    } else {
        options.ssl_root_cert_from_pem(roots)
    })
}

fn is_on_this_machine(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    options.get_socket().is_some()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Result<PgSslMode, &'static str> {
        let options = url.parse().expect("a URL");
        verify_server(options, None).map(|options| options.get_ssl_mode())
    }

    #[test]
    fn f41_only_this_machine_is_talked_to_without_verification() {
        for (url, is_verified) in [
            ("postgres://u@db.example/x", Some(true)),
            ("postgres://u@10.0.0.7/x", Some(true)),
            ("postgres://u@db.example/x?sslmode=verify-full", Some(true)),
            ("postgres://u@db.example/x?sslmode=prefer", Some(true)),
            ("postgres://u@db.example/x?sslmode=disable", None),
            ("postgres://u@db.example/x?sslmode=allow", None),
            ("postgres://u@db.example/x?sslmode=require", None),
            ("postgres://u@db.example/x?sslmode=verify-ca", None),
            ("postgres://u@localhost.example/x?sslmode=disable", None),
            ("postgres://u@127.0.0.1.example/x?sslmode=disable", None),
            ("postgres://u@0.0.0.0/x?sslmode=disable", None),
            ("postgres://u@127.0.0.1/x?sslmode=disable", Some(false)),
            ("postgres://u@localhost/x?sslmode=disable", Some(false)),
            ("postgres://u@[::1]/x?sslmode=disable", Some(false)),
            ("postgres://u@localhost/x?sslmode=verify-full", Some(true)),
            (
                "postgres://u@%2Frun%2Fpostgresql/x?sslmode=disable",
                Some(false),
            ),
        ] {
            let verified = mode(url).map(|mode| matches!(mode, PgSslMode::VerifyFull));
            assert_eq!(verified.ok(), is_verified, "{url}");
        }
    }
}
