//! Webhooks: which URLs may be called. Owns: the rules for the URL. Does not own: the rules for the address
//! that it resolves to (`address`), nor the call (`app::job::run::webhook`).

use url::{Host, Url};

use super::address::{AddressPolicy, is_public};

const MAX_URL_BYTES: usize = 2_048;

/// Parses and checks a webhook's URL: https on port 443 of a public host, or any http or https URL under
/// [`AddressPolicy::Any`]. The addresses that its host name resolves to are checked when the call is made.
///
/// # Errors
/// Why the URL is refused, in words for the client.
pub fn parse(text: &str, policy: AddressPolicy) -> Result<Url, &'static str> {
    let Ok(url) = text.parse::<Url>() else {
        return Err("must be a URL");
    };
    if text.len() > MAX_URL_BYTES {
        return Err("is too long");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password");
    }
    match (policy, url.scheme()) {
        (_, "https") | (AddressPolicy::Any, "http") => {}
        _ => return Err("must begin with https://"),
    }
    if policy == AddressPolicy::Any {
        return url.host().map(|_| url.clone()).ok_or("must name a host");
    }
    if url.port_or_known_default() != Some(443) {
        return Err("must use port 443");
    }
    let is_public = match url.host() {
        None => return Err("must name a host"),
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => is_public_name(name),
    };
    if is_public {
        Ok(url)
    } else {
        Err("must lead to a public address")
    }
}

/// Whether a host name can be a public one: it has a dot and no top-level domain of local or private use.
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
    fn only_public_https_urls_are_accepted() {
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
            assert_eq!(
                parse(text, AddressPolicy::PublicOnly).err(),
                refusal,
                "{text}"
            );
        }
        assert!(parse("http://127.0.0.1:9999/hook", AddressPolicy::Any).is_ok());
        let long = format!("https://hooks.example.com/{}", "x".repeat(MAX_URL_BYTES));
        assert_eq!(parse(&long, AddressPolicy::PublicOnly), Err("is too long"));
    }
}
