//! Whom a mail reaches, and what it says.

use serde_json::json;
use tests::mail_provider::Fault;
use tests::world::hours;
use tests::{World, run};

use super::{
    LOW, SHUTDOWN, add_user, delivered, delivery_id, handed_over_at, invoke, is_undeliverable,
    notify, organization, rows, smtp_world, state, states, sweep, write_event,
};

#[test]
fn a_warning_of_billing_reaches_the_owner_with_date_amount_and_link() {
    run(async {
        let (world, provider) = smtp_world().await;
        let debtor = organization(&world, "owner@a.example").await;
        world.agent(debtor, "running").await;
        sqlx::query(
            "INSERT INTO cloud.organization_settings (organization_id, time_zone, updated_at, updated_by)
            VALUES ($1, 'Europe/Berlin', now(), $1)",
        )
        .bind(debtor)
        .execute(&world.pool)
        .await
        .expect("settings");
        world.run_billing(1).await;
        assert_eq!(sweep(&world).await, 1);
        let mails = provider.taken();
        assert_eq!(mails.len(), 1);
        let mail = &mails[0];
        assert_eq!(mail.recipient, "owner@a.example");
        let parsed = mail.parsed();
        assert_eq!(
            parsed.subject(),
            "1 agent will be shut down on 2026-03-03 01:00 UTC"
        );
        for text in [
            "2026-03-03 01:00 UTC (2026-03-03 02:00 in Europe/Berlin)",
            "You owe $0.02 now, and $0.98 then",
            "- agent\n",
            "https://app.example/credits",
            "Organization: Test",
        ] {
            let plain = parsed.text.replace("\r\n", "\n");
            assert!(plain.contains(text), "{text}: {plain}");
        }
        assert!(parsed.html.contains("<li>agent</li>"), "{}", parsed.html);
        let id = delivery_id(&world, "owner@a.example").await;
        assert_eq!(
            parsed.header("message-id"),
            Some(format!("<{id}@cloud.example>").as_str())
        );
        // The agent is suspended a day after this at the earliest.
        let since = "SELECT count(*) FROM outbox_events WHERE handed_over_at = billing_clock()";
        assert_eq!(world.count(since).await, 1);
        world.set_clock(hours(2)).await;
        assert_eq!(sweep(&world).await, 0);
    });
}

#[test]
fn an_event_that_arrives_twice_sends_one_mail() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let id = write_event(&world, owner, SHUTDOWN).await;
        let (one, two) = (
            world.function("notify").start().await,
            world.function("notify").start().await,
        );
        let limit = std::time::Duration::from_mins(1);
        tokio::join!(
            one.invoke(delivered(id, SHUTDOWN), limit),
            two.invoke(delivered(id, SHUTDOWN), limit)
        );
        assert!(!notify(&world, id, SHUTDOWN).await);
        assert_eq!(sweep(&world).await, 0);
        assert_eq!(provider.recipients(), ["owner@a.example"]);
        assert_eq!(
            states(&world).await,
            [state("owner@a.example", "handed_over")]
        );
    });
}

#[test]
fn the_chain_goes_from_the_setting_to_the_oldest_user() {
    run(async {
        let (world, provider) = smtp_world().await;
        let id = organization(&world, "owner@a.example").await;
        add_user(&world, id, "member", "younger@a.example", "2021-01-01").await;
        add_user(&world, id, "member", "oldest@a.example", "2020-01-01").await;
        add_user(&world, id, "admin", "admin@a.example", "2022-01-01").await;
        sqlx::query("UPDATE organizations SET billing_email = 'bills@a.example' WHERE id = $1")
            .bind(id)
            .execute(&world.pool)
            .await
            .expect("an address");
        sqlx::query(
            "INSERT INTO cloud.organization_settings (organization_id, billing_email, updated_at, updated_by)
            VALUES ($1, 'setting@a.example', now(), $1)",
        )
        .bind(id)
        .execute(&world.pool)
        .await
        .expect("settings");
        for _ in 0..5 {
            provider.fail_next(Fault::Recipient(550));
        }
        let event = write_event(&world, id, SHUTDOWN).await;
        assert!(!notify(&world, event, SHUTDOWN).await);
        let mut addressed: Vec<String> = states(&world)
            .await
            .into_iter()
            .map(|(recipient, _)| recipient)
            .collect();
        addressed.sort();
        assert_eq!(
            addressed,
            [
                "",
                "admin@a.example",
                "bills@a.example",
                "oldest@a.example",
                "owner@a.example",
                "setting@a.example"
            ]
        );
        assert!(is_undeliverable(&world, event).await);
        assert_eq!(provider.attempts(), 5);
        // The server's text named the recipient.
        for row in rows(&world).await {
            let reason = row.4.unwrap_or_default();
            assert!(!reason.contains('@'), "{reason}");
        }
        let logs = world.logs("notify").await.join("\n");
        assert!(logs.contains("can be mailed"), "{logs}");
        assert!(!logs.contains("a.example"), "{logs}");
    });
}

#[test]
fn an_organization_without_an_address_is_an_incident_and_one_that_is_deleted_is_not() {
    run(async {
        let (world, _provider) = smtp_world().await;
        let nobody = world.organization("0").await;
        let deleted = uuid::Uuid::new_v4();
        let (one, two) = (
            write_event(&world, nobody, SHUTDOWN).await,
            write_event(&world, deleted, SHUTDOWN).await,
        );
        let answer = invoke(&world, json!({})).await;
        assert_eq!(
            (&answer["handedOver"], &answer["undeliverable"]),
            (&json!(0), &json!(1))
        );
        assert!(is_undeliverable(&world, one).await && is_undeliverable(&world, two).await);
        assert_eq!(states(&world).await, [state("", "undeliverable")]);
    });
}

#[test]
fn old_news_is_not_mailed() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let low = write_event(&world, owner, LOW).await;
        let warning = write_event(&world, owner, SHUTDOWN).await;
        world.set_clock(hours(25)).await;
        assert_eq!(sweep(&world).await, 1);
        assert_eq!(handed_over_at(&world, low).await, None);
        assert_eq!(handed_over_at(&world, warning).await, Some(25 * 60));
        assert_eq!(provider.taken().len(), 1);
    });
}

/// The names of a mail's headers, in their order.
fn header_names(raw: &str) -> Vec<&str> {
    let (head, _) = raw.split_once("\r\n\r\n").expect("headers");
    let lines = head.lines().filter(|line| !line.starts_with([' ', '\t']));
    lines
        .map(|line| line.split(':').next().unwrap_or_default())
        .collect()
}

/// Of the whole way, from the table to the message. `app::mail::render` has many more names.
#[test]
fn names_make_no_header_no_tag_and_no_link() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let names = [
            "plain",
            "<a href=\"https://evil.example\">x</a>\r\nBcc: y@evil.example",
            "=?utf-8?q?=0D=0ABcc:_y@evil.example?=",
            "=?utf-8?B?PGI+?= [x](https://evil.example)",
            "\u{202e}elpmaxe.live\u{202c} www.evil.example",
            "\r\n.\r\nQUIT\r\n",
            "ü\u{2028}Ж\u{feff}語",
        ];
        for name in names {
            sqlx::query("UPDATE organizations SET name = $2 WHERE id = $1")
                .bind(owner)
                .bind(name)
                .execute(&world.pool)
                .await
                .expect("a name");
            let id = write_event(&world, owner, SHUTDOWN).await;
            sqlx::query("UPDATE outbox_events SET payload = payload || $2 WHERE id = $1")
                .bind(id)
                .bind(json!({"agents": [{"name": name}]}))
                .execute(&world.pool)
                .await
                .expect("an agent");
            assert!(notify(&world, id, SHUTDOWN).await, "{name:?}");
        }
        let mails = provider.taken();
        assert_eq!(mails.len(), names.len());
        for (mail, name) in mails.iter().zip(names) {
            assert_eq!(
                header_names(&mail.raw),
                header_names(&mails[0].raw),
                "{name:?}"
            );
            let parsed = mail.parsed();
            assert_eq!(parsed.header("bcc"), None);
            assert_eq!(parsed.subject(), mails[0].parsed().subject());
            for text in [&parsed.text, &parsed.html] {
                assert!(!text.contains("evil.example"), "{text}");
                assert!(
                    !text.contains(['\u{202e}', '\u{202c}', '\u{2028}']),
                    "{text}"
                );
            }
            assert_eq!(parsed.html.matches("<a ").count(), 1);
        }
    });
}

/// The operator's list and the log of a world in which a mail was refused hold no address.
#[test]
fn no_address_reaches_a_log_or_a_response() {
    run(async {
        let (world, provider): (World, _) = smtp_world().await;
        let operator = world.super_admin().await;
        let (organization, key) = world.tenant("0").await;
        sqlx::query("UPDATE users SET email = 'canary@canary.example' WHERE organization_id = $1")
            .bind(organization)
            .execute(&world.pool)
            .await
            .expect("an address");
        provider.fail_next(Fault::Message(554));
        let id = write_event(&world, organization, SHUTDOWN).await;
        notify(&world, id, SHUTDOWN).await;
        let mut texts = Vec::new();
        for (key, path) in [
            (&operator, "/api/v1/admin/mails"),
            (&operator, "/api/v1/admin/audit"),
            (&key, "/api/v1/settings"),
            (&key, "/api/v1/credits/balance"),
        ] {
            texts.push(world.get(key, path).await.text().to_owned());
        }
        texts.extend(world.logs("notify").await);
        texts.extend(world.logs("mail-list").await);
        for text in texts {
            assert!(!text.contains("canary.example"), "{text}");
        }
    });
}
