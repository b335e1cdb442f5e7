//! Secrets that Secrets Manager keeps, against a stand-in that speaks its protocol.

use std::collections::BTreeMap;
use std::time::Instant;

use dev::host::Silent;
use shared::secrets::{Secret, SecretError, Secrets};
use tests::run;
use tests::secrets_manager::{Kept, SecretsManager};

fn stored(name: &str) -> Secret {
    Secret::Stored(arn(name))
}

fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}")
}

#[test]
fn a_stored_secret_is_read_and_what_is_not_there_has_its_kind() {
    run(async {
        let odd = "line one\nline \"two\" \\ ü€😀\n";
        let manager = SecretsManager::start(BTreeMap::from([
            (arn("key"), Kept::Text(odd.to_owned())),
            (arn("bytes"), Kept::Binary("AAEC".to_owned())),
            (arn("fault"), Kept::Fault),
        ]))
        .await;
        let secrets = Secrets::at(&manager.url());
        assert_eq!(secrets.read(&stored("key")).await, Ok(odd.to_owned()));
        assert_eq!(manager.calls(), 1);
        assert_eq!(
            secrets.read(&stored("bytes")).await,
            Err(SecretError::NotText)
        );
        assert_eq!(
            secrets.read(&stored("none")).await,
            Err(SecretError::Unreadable)
        );
        assert_eq!(manager.calls(), 3);
        // A fault of the service is tried again, a few times.
        assert_eq!(
            secrets.read(&stored("fault")).await,
            Err(SecretError::Unreadable)
        );
        assert!((5..=6).contains(&manager.calls()), "{}", manager.calls());
    });
}

#[test]
fn who_is_away_or_silent_costs_no_more_than_the_limit() {
    run(async {
        let silent = Silent::start().expect("a silent host");
        for port in [9, silent.port()] {
            let secrets = Secrets::at(&format!("http://127.0.0.1:{port}"));
            let began = Instant::now();
            let read = tokio::spawn(async move { secrets.read(&stored("key")).await });
            let read = read.await.expect("no panic");
            assert_eq!(read, Err(SecretError::Unreadable));
            assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
        }
    });
}
