//! Webhooks: which URLs may be called. Owns: the rules for the URL; those for the address it resolves to
//! are `address`'. Does not own: the call (`app::job::run::webhook`).

use url::{Host, Url};

use super::address::is_public;

/// The longest URL there may be, in bytes.
const LONGEST: usize = 2_048;

/// Where a webhook may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// https, port 443, a public unicast address.
    Public,
    /// Any http or https address, for a stack that runs on one machine.
    Anywhere,
}

/// Reads a webhook's URL. A name in it is checked again, as an address, when the call is made.
///
/// # Errors
/// Why it is refused, in words for the client.
pub fn parse(text: &str, reach: Reach) -> Result<Url, &'static str> {
    let url: Url = text.parse().map_err(|_| "must be a URL")?;
    if text.len() > LONGEST {
        return Err("is too long");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password");
    }
    match (reach, url.scheme()) {
        (_, "https") | (Reach::Anywhere, "http") => {}
        _ => return Err("must begin with https://"),
    }
    if reach == Reach::Anywhere {
        return url.host().map(|_| url.clone()).ok_or("must name a host");
    }
    if url.port_or_known_default() != Some(443) {
        return Err("must use port 443");
    }
    let public = match url.host() {
        None => return Err("must name a host"),
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => is_public_name(name),
    };
    if public {
        Ok(url)
    } else {
        Err("must lead to a public address")
    }
}

/// A name that is not of this machine or of a private network.
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains('.')
        && ![
            "localhost",
            "local",
            "internal",
            "lan",
            "home",
            "arpa",
            "test",
            "invalid",
            "onion",
        ]
        .contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_https_urls_are_taken() {
        for (text, refusal) in [
            ("https://hooks.example.com/agents?x=1", None),
            ("https://hooks.example.com:443/", None),
            ("https://93.184.216.34/", None),
            ("https://[2606:2800:220:1::1]/", None),
            (
                "http://hooks.example.com/",
                Some("must begin with https://"),
            ),
            ("ftp://hooks.example.com/", Some("must begin with https://")),
            ("https://hooks.example.com:8443/", Some("must use port 443")),
            (
                "https://user:word@hooks.example.com/",
                Some("must not hold a user name or password"),
            ),
            ("https://localhost/", Some("must lead to a public address")),
            ("https://LOCALHOST./", Some("must lead to a public address")),
            (
                "https://db.internal/",
                Some("must lead to a public address"),
            ),
            ("https://intranet/", Some("must lead to a public address")),
            ("https://127.0.0.1/", Some("must lead to a public address")),
            ("https://2130706433/", Some("must lead to a public address")),
            ("https://0x7f.1/", Some("must lead to a public address")),
            (
                "https://169.254.169.254/latest",
                Some("must lead to a public address"),
            ),
            ("https://[::1]/", Some("must lead to a public address")),
            (
                "https://[::ffff:10.0.0.1]/",
                Some("must lead to a public address"),
            ),
            ("hooks.example.com", Some("must be a URL")),
            ("", Some("must be a URL")),
        ] {
            assert_eq!(parse(text, Reach::Public).err(), refusal, "{text}");
        }
        assert!(parse("http://127.0.0.1:9999/hook", Reach::Anywhere).is_ok());
        let long = format!("https://hooks.example.com/{}", "x".repeat(LONGEST));
        assert_eq!(parse(&long, Reach::Public), Err("is too long"));
    }
}
