//! Mail addresses: which ones are accepted, and what operators see of them.

const MAX_ADDRESS_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;
const MAX_LABEL_BYTES: usize = 63;

/// Whether a text is an address that every server understands: ASCII, without quotes, comments or an IP address. What
/// this accepts can end neither a header nor an SMTP command.
#[must_use]
pub fn is_mail_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    text.len() <= MAX_ADDRESS_BYTES && is_local_part(local) && is_domain(domain)
}

fn is_local_part(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte))
    };
    local.len() <= MAX_LOCAL_BYTES && local.split('.').all(is_atom)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, last)) = domain.rsplit_once('.') else {
        return false;
    };
    domain.split('.').all(is_label) && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Enough of an address to recognize one's own: `a***@e***.com`. `***` if it is none.
#[must_use]
pub fn masked_address(address: &str) -> String {
    let masked = || {
        let (local, domain) = address.split_once('@')?;
        let (name, last) = domain.rsplit_once('.')?;
        let (first, of_domain) = (local.chars().next()?, name.chars().next()?);
        Some(format!("{first}***@{of_domain}***.{last}"))
    };
    masked().unwrap_or_else(|| "***".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_accepted() {
        for address in [
            "a@b.co",
            "first.last+tag@mail.example.com",
            "o'neil@xn--bcher-kva.example",
        ] {
            assert!(is_mail_address(address), "{address}");
        }
    }

    #[test]
    fn what_servers_may_not_understand_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for address in [
            "",
            "a",
            "a@",
            "@b.co",
            "a@b",
            "a@@b.co",
            "a b@c.de",
            ".a@b.co",
            "a.@b.co",
            "a..b@c.de",
            "a@-b.co",
            "a@b-.co",
            "a@b..co",
            "a@1.2.3.4",
            "a@[1.2.3.4]",
            "\"a\"@b.co",
            "ä@b.co",
            "a@bü.co",
            "a@b.co\r\nBcc: x@y.zz",
            "a@b.co\n",
            "a@b.co>",
            "a,c@b.co",
            "a@b.co ",
            &long,
        ] {
            assert!(!is_mail_address(address), "{address:?}");
        }
    }

    #[test]
    fn a_masked_address_shows_three_letters_and_the_last_label() {
        assert_eq!(masked_address("anna@example.com"), "a***@e***.com");
        assert_eq!(masked_address("anna@mail.example.org"), "a***@m***.org");
        assert_eq!(masked_address("nonsense"), "***");
    }
}
