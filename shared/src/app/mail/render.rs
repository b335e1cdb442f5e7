//! The two forms of a mail. Owns: that text from names is escaped in HTML.

use askama::Template;

use super::content::Content;

#[derive(Template)]
#[template(path = "mail.txt")]
struct TextForm<'a> {
    content: &'a Content,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct HtmlForm<'a> {
    content: &'a Content,
}

/// The text and the HTML of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) text: String,
    pub(super) html: String,
}

/// # Errors
/// Formatting fails, which it does for no value here.
pub(super) fn render(content: &Content) -> Result<Rendered, askama::Error> {
    Ok(Rendered {
        text: TextForm { content }.render()?,
        html: HtmlForm { content }.render()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::content::{Payload, Setting, content};
    use super::*;
    use crate::domain::mail::MailTemplate;

    const APP: &str = "https://app.example";

    fn rendered(template: MailTemplate, name: &str) -> (String, Rendered) {
        let payload = json!({"agents": [{"id": "x", "name": name}], "agentCount": 2, "owed": 1.5,
            "owedAtDeadline": 2.5, "balance": 1.5, "mark": 2, "reason": name,
            "scheduledShutdownAt": "2026-03-03T01:00:00Z", "deletionAt": "2026-03-03T01:00:00Z"});
        let setting = Setting {
            organization_name: name,
            time_zone: "UTC",
            local_date: None,
            app_url: APP,
        };
        let payload = Payload::read(payload).expect("a payload");
        let content = content(template, &payload, &setting);
        let subject = content.subject.clone();
        (subject, render(&content).expect("both forms"))
    }

    #[test]
    fn a_mail_lists_agents_and_has_one_link() {
        let (_, mail) = rendered(MailTemplate::Suspended, "one");
        assert!(
            mail.text.contains("\n- one\n- and 1 more\n"),
            "{}",
            mail.text
        );
        assert!(
            mail.text
                .contains("Look at the credit: https://app.example/credits\n")
        );
        assert!(mail.html.contains("<li>one</li>"), "{}", mail.html);
        assert!(
            mail.html
                .contains(r#"<a href="https://app.example/credits">Look at the credit</a>"#)
        );
    }

    /// Without both of these, mail programs in dark mode keep a white page or invert the colours by themselves.
    #[test]
    fn a_mail_has_colours_of_its_own_in_dark_mode() {
        let (_, mail) = rendered(MailTemplate::CreditLow, "one");
        for part in [
            r#"<meta name="color-scheme" content="light dark">"#,
            "@media (prefers-color-scheme: dark) {",
        ] {
            assert!(mail.html.contains(part), "{}", mail.html);
        }
    }

    /// Host names, schemes and addresses as mail programs recognize them.
    fn link_count(text: &str) -> usize {
        let chars: Vec<char> = text.chars().collect();
        let is_word = |c: char| c.is_alphabetic();
        let marks = chars.windows(3).filter(|window| {
            is_word(window[0])
                && matches!(window[1], '.' | '@' | '。' | '．' | '｡')
                && is_word(window[2])
        });
        marks.count() + text.matches("://").count()
    }

    /// What a name may be made of: HTML, headers, encoded words, Markdown, links, templates, and what changes the direction
    /// of a text.
    const PIECES: &[&str] = &[
        "<a href=\"https://evil.example\">x</a>",
        "</li></ul><script>alert(1)</script>",
        "<!--",
        "' onmouseover='alert(1)",
        "&lt;b&gt;",
        "&#60;b&#62;",
        "\r\nBcc: x@evil.example\r\n\r\n",
        "%0d%0aBcc: x@evil.example",
        "=?utf-8?B?PGI+?=",
        "=?utf-8?q?=0D=0ABcc:_x@evil.example?=",
        "[x](https://evil.example)",
        "![x](//evil.example/i.png)",
        "<https://evil.example>",
        "https://evil.example",
        "HTTPS:\u{200b}//evil.example",
        "//evil.example",
        "\\\\evil.example",
        "www.evil.example",
        "evil\u{ff0e}example",
        "mailto:x@evil.example",
        "x\u{ff20}evil.example",
        "javascript:alert(1)",
        "tel:+491234",
        "http://1.2.3.4/x",
        "{{ content.link }}",
        "\u{202e}elpmaxe.live\u{202c}",
        "\u{2066}a\u{2069}",
        "\u{200f}",
        "e\u{301}",
        "\0",
    ];

    fn hostile_name() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(PIECES).prop_map(|piece: &str| piece.to_owned()),
            any::<String>(),
            "[a-z<>&\"'./:@ \r\n]{0,40}",
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    fn changes_direction(c: char) -> bool {
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }

    proptest! {
        #[test]
        fn no_name_makes_a_tag_a_header_or_a_link(name in hostile_name()) {
            for template in MailTemplate::ALL {
                let (subject, mail) = rendered(*template, &name);
                let (plain_subject, plain) = rendered(*template, "x");
                // No subject holds a name, and the other headers hold nothing that an owner chooses but a checked address.
                prop_assert_eq!(subject, plain_subject);
                prop_assert_eq!(link_count(&mail.text), link_count(&plain.text), "{}", mail.text);
                prop_assert_eq!(mail.text.lines().count(), plain.text.lines().count(), "{}", mail.text);
                for sign in ['<', '>', '"', '\''] {
                    prop_assert_eq!(mail.html.matches(sign).count(), plain.html.matches(sign).count());
                }
                // The link to the dashboard, and no other one.
                prop_assert_eq!(mail.html.matches("://").count(), 1);
                prop_assert_eq!(mail.html.matches("<a href=").count(), 1);
                for form in [&mail.text, &mail.html] {
                    prop_assert!(!form.contains(changes_direction), "{form:?}");
                    prop_assert!(!form.contains(|c: char| c.is_control() && c != '\n'), "{form:?}");
                }
            }
        }
    }
}
