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

    proptest! {
        #[test]
        fn no_name_makes_a_tag_a_header_or_a_link(name in any::<String>(), evil in "[a-z<>&\"'./:@ \r\n]{0,40}") {
            for name in [name, evil] {
                for template in MailTemplate::ALL {
                    let (subject, mail) = rendered(*template, &name);
                    let (_, plain) = rendered(*template, "x");
                    prop_assert!(!subject.contains(char::is_control), "{subject:?}");
                    prop_assert_eq!(link_count(&mail.text), link_count(&plain.text), "{}", mail.text);
                    for sign in ['<', '>', '"'] {
                        prop_assert_eq!(mail.html.matches(sign).count(), plain.html.matches(sign).count());
                    }
                    prop_assert_eq!(mail.html.matches("://").count(), 1);
                }
            }
        }
    }
}
