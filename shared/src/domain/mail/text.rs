//! Names of agents and organizations in mails. Owners choose them, so they may try to be a header, a tag or a link.

/// Mail programs shorten longer names anyway.
const MAX_NAME_CHARS: usize = 60;
/// Longer than every sentence of this product.
const MAX_SENTENCE_CHARS: usize = 300;
/// What stands for a name that shows nothing.
const NO_NAME: &str = "(without a name)";

/// A text in one line: every run of spaces, line breaks, control characters and invisible characters is one space.
#[must_use]
pub fn plain_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() || is_invisible(c) {
            if !line.ends_with(' ') {
                line.push(' ');
            }
        } else {
            line.push(c);
        }
    }
    line.trim().to_owned()
}

/// A name in one line, shortened, and written so that no mail program takes it for a link: programs recognize
/// `host.example`, `https://..` and `a@host.example` in any text. A space after these marks ends that.
#[must_use]
pub fn unlinked_name(name: &str) -> String {
    unlinked(name, MAX_NAME_CHARS)
}

/// A sentence that may quote a name, written in the same way.
#[must_use]
pub fn unlinked_sentence(sentence: &str) -> String {
    unlinked(sentence, MAX_SENTENCE_CHARS)
}

fn unlinked(text: &str, max_chars: usize) -> String {
    let line = plain_line(text);
    let mut chars = line.chars();
    let mut shown = String::with_capacity(line.len());
    for c in chars.by_ref().take(max_chars) {
        let follows_mark = shown.chars().next_back().is_some_and(is_link_mark);
        if follows_mark && !c.is_whitespace() && !c.is_ascii_digit() {
            shown.push(' ');
        }
        shown.push(c);
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    if shown.is_empty() {
        shown.push_str(NO_NAME);
    }
    shown
}

/// Also the dots that browsers read as `.` in a host name.
fn is_link_mark(c: char) -> bool {
    matches!(
        c,
        '.' | ':' | '/' | '@' | '\\' | '。' | '．' | '｡' | '：' | '／' | '＠'
    )
}

/// Control characters, and characters that change the direction of a text, join others or take no room.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_shown_as_they_are_unless_they_could_be_links() {
        for (name, shown) in [
            ("my agent", "my agent"),
            ("v1.2", "v1.2"),
            ("  a \r\n b\t", "a b"),
            ("https://evil.example/x", "https: / / evil. example/ x"),
            ("evil.example", "evil. example"),
            ("evil。example", "evil。 example"),
            ("me@evil.example", "me@ evil. example"),
            ("<b>bold</b>", "<b>bold</ b>"),
            ("a\u{202e}b\u{200b}c", "a b c"),
            ("\u{200b}", NO_NAME),
            ("", NO_NAME),
        ] {
            assert_eq!(unlinked_name(name), shown, "{name:?}");
        }
        let long = unlinked_name(&"a".repeat(61));
        assert_eq!(long, format!("{}…", "a".repeat(60)));
    }

    proptest! {
        #[test]
        fn no_name_holds_a_line_break_or_a_link(name in any::<String>()) {
            let shown = unlinked_name(&name);
            prop_assert!(!shown.contains(|c: char| c.is_control()));
            let chars: Vec<char> = shown.chars().collect();
            for pair in chars.windows(2) {
                prop_assert!(
                    !is_link_mark(pair[0]) || pair[1].is_whitespace() || pair[1].is_ascii_digit() || pair[1] == '…',
                    "{shown:?}"
                );
            }
        }
    }
}
