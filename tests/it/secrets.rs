//! Secrets in Secrets Manager, against a stand-in that speaks its protocol.

use std::collections::BTreeMap;
use std::time::Instant;

use dev::host::SilentPort;
use shared::secrets::{Secret, SecretErrorReason, Secrets};
use tests::secrets_manager::{SecretsManager, StoredSecret};
use tests::{reason, run};

fn stored(name: &str) -> Secret {
    Secret::Stored(arn(name))
}

fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}")
}

#[test]
fn a_stored_secret_is_read_and_every_failure_has_its_reason() {
    run(async {
        let odd = "line one\nline \"two\" \\ ü€😀\n";
        let manager = SecretsManager::start(BTreeMap::from([
            (arn("key"), StoredSecret::Text(odd.to_owned())),
            (arn("bytes"), StoredSecret::Binary("AAEC".to_owned())),
            (arn("fault"), StoredSecret::InternalError),
        ]))
        .await;
        let secrets = Secrets::at(&manager.url());
        assert_eq!(
            reason(secrets.read(&stored("key")).await),
            Ok(odd.to_owned())
        );
        assert_eq!(manager.calls().await, 1);
        assert_eq!(
            reason(secrets.read(&stored("bytes")).await),
            Err(SecretErrorReason::NotText)
        );
        assert_eq!(
            reason(secrets.read(&stored("none")).await),
            Err(SecretErrorReason::Unreadable)
        );
        assert_eq!(manager.calls().await, 3);
        // The SDK repeats a request that fails inside the service.
        assert_eq!(
            reason(secrets.read(&stored("fault")).await),
            Err(SecretErrorReason::Unreadable)
        );
        let calls = manager.calls().await;
        assert!((5..=6).contains(&calls), "{calls}");
    });
}

#[test]
fn an_unreachable_or_silent_service_times_out() {
    run(async {
        let silent = SilentPort::start().expect("a silent host");
        for port in [9, silent.port()] {
            let secrets = Secrets::at(&format!("http://127.0.0.1:{port}"));
            let began = Instant::now();
            let reading = tokio::spawn(async move { secrets.read(&stored("key")).await });
            let read = reading.await.expect("no panic");
            assert_eq!(reason(read), Err(SecretErrorReason::Unreadable));
            assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
        }
    });
}
