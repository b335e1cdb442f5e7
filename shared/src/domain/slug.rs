//! Slugs: short names of organizations for addresses. Owns: their form, and which one follows from a name.

pub const MAX_SLUG_BYTES: usize = 100;

/// Whether a text is a slug: lower-case letters and digits, in words that single dashes join.
#[must_use]
pub fn is_slug(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_letter);
    text.len() <= MAX_SLUG_BYTES && text.split('-').all(is_word)
}

/// The slug of an organization with this name. Of a name without a letter or digit of ASCII it is `organization`.
#[must_use]
pub fn slug_of(name: &str) -> String {
    let name = name.to_lowercase();
    let words: Vec<&str> = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        "organization".to_owned()
    } else {
        words.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slug_of_a_name_is_a_slug() {
        for (name, slug) in [
            ("Acme", "acme"),
            ("Acme & Sons, Ltd.", "acme-sons-ltd"),
            ("  4 U ", "4-u"),
            ("Bücher", "b-cher"),
            ("日本", "organization"),
        ] {
            assert_eq!(slug_of(name), slug, "{name}");
            assert!(is_slug(slug), "{slug}");
        }
    }

    #[test]
    fn other_texts_are_no_slugs() {
        let long = "a".repeat(MAX_SLUG_BYTES + 1);
        for text in [
            "", "-", "a-", "-a", "a--b", "A", "a b", "a_b", "ä", "a\n", &long,
        ] {
            assert!(!is_slug(text), "{text:?}");
        }
    }
}
