//! The size of what Lambda returns. Owns: its limit, and how long a text becomes in it.
//!
//! Lambda returns 6,291,556 bytes at most. They hold a JSON object with the status, the headers and the body, which is a
//! JSON string: every quotation mark and every line break of the body takes two bytes.

/// The longest body as Lambda returns it: escaped in a JSON string, or as base64. The rest is for the headers and the
/// JSON around them.
pub const MAX_PAYLOAD_BYTES: usize = 5_500_000;
/// Beyond this, Lambda answers 500 without a body in place of the response.
pub const LAMBDA_MAX_BYTES: usize = 6_291_556;

/// How long a text becomes as a JSON string, without its quotation marks.
#[must_use]
pub fn escaped_length(text: &str) -> usize {
    text.bytes().map(|byte| escaped(byte).0).sum()
}

/// How long bytes become as base64.
#[must_use]
pub fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// The last lines of a text that fit into a body of JSON, where the text is escaped a second time.
#[must_use]
pub fn last_lines(text: &str, max_bytes: usize) -> &str {
    let mut length = 0;
    let mut start = text.len();
    for (at, byte) in text.bytes().enumerate().rev() {
        let (once, specials) = escaped(byte);
        length += once + specials;
        if length > max_bytes {
            let rest = &text[start..];
            if text[..start].ends_with('\n') {
                return rest;
            }
            // Nothing but whole lines, unless there is only one.
            let line_end = rest.find('\n').filter(|end| end + 1 < rest.len());
            return &rest[line_end.map_or(0, |end| end + 1)..];
        }
        if text.is_char_boundary(at) {
            start = at;
        }
    }
    text
}

/// How many bytes a byte takes in a JSON string, and how many of them have to be escaped again in a further one.
fn escaped(byte: u8) -> (usize, usize) {
    match byte {
        // `\"` and `\\`: both bytes are special.
        b'"' | b'\\' => (2, 2),
        // `\n`
        b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => (2, 1),
        // `\u001b`
        0..0x20 => (6, 1),
        _ => (1, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let json = serde_json::to_string(text).expect("JSON");
        json[1..json.len() - 1].to_owned()
    }

    #[test]
    fn f92_lengths_are_those_of_what_is_sent() {
        let every_ascii: String = (0..128).map(char::from).collect();
        for text in ["", "plain", "\"\\\n\u{1b}[31mé€😀", &every_ascii] {
            assert_eq!(escaped_length(text), json(text).len(), "{text:?}");
            let twice = json(&json(text)).len();
            assert_eq!(last_lines(text, twice), text);
            if twice > 0 {
                assert_ne!(last_lines(text, twice - 1), text);
            }
        }
    }

    #[test]
    fn f92_the_last_whole_lines_are_kept() {
        for (text, max_bytes, expected) in [
            ("one\ntwo\nthree\n", 16, "two\nthree\n"),
            ("one\ntwo\nthree\n", 13, "three\n"),
            ("one\ntwo\nthree\n", 8, "three\n"),
            ("one\ntwo\nthree\n", 7, "hree\n"),
            ("a long line without an end", 3, "end"),
            ("€€", 4, "€"),
            ("x", 0, ""),
        ] {
            assert_eq!(
                last_lines(text, max_bytes),
                expected,
                "{text:?} {max_bytes}"
            );
        }
    }
}
