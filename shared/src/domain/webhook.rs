//! Webhooks: which addresses may be called. Owns: the rules for the URL and for the address it
//! resolves to. Does not own: the call (`app::webhook`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

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

/// Whether an address is public unicast: in none of the blocks that IANA's special-purpose address
/// registries list as not globally reachable, and no multicast.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || address.is_documentation()
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 224)
}

/// Only the block that is given out for global unicast, without the parts of it that lead to IPv4
/// addresses or nowhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let segments = address.segments();
    (0x2000..0x4000).contains(&segments[0])
        && !(segments[0] == 0x2001 && segments[1] < 0x200)
        && !(segments[0] == 0x2001 && segments[1] == 0xdb8)
        && segments[0] != 0x2002
        && !(segments[0] == 0x3fff && segments[1] < 0x1000)
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

    #[test]
    fn private_and_special_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.8.8.8",
            "169.254.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:192.168.0.1",
            "64:ff9b::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().expect(text)), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(text.parse().expect(text)), "{text}");
        }
    }
}
