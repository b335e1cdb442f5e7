//! TLS to Postgres: only a server that proves its name is talked to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dev::postgres::Server;
use dev::runtime::Outcome;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::run;
use tests::suite::{Function, server_options};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

/// Gives the server a certificate for these names, and turns TLS on.
async fn use_certificate(
    server: &Server,
    authority: &CertifiedIssuer<'static, KeyPair>,
    names: &[&str],
) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(names).expect("parameters");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let mut conn = PgConnection::connect(&server.url("postgres"))
        .await
        .expect("a connection");
    for (file, text) in [
        ("server.crt", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        // The server refuses a key that others can read.
        let sql = format!(
            "COPY (SELECT '{}') TO PROGRAM 'base64 -d > {file} && chmod 600 {file}'",
            STANDARD.encode(text)
        );
        let written = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await;
        written.expect("a file of the server");
    }
    set_tls(&mut conn, true).await;
}

async fn set_tls(conn: &mut PgConnection, on: bool) {
    let sql = format!("ALTER SYSTEM SET ssl = {on}");
    let changed = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await;
    changed.expect("a setting");
    let reloaded = sqlx::raw_sql("SELECT pg_reload_conf(), pg_sleep(0.2)").execute(conn);
    reloaded.await.expect("a reload");
}

/// What `db-migrate` answers; `None` if it succeeds.
async fn failure(url: &str, bundle: Option<&str>) -> Option<String> {
    let mut function = Function::new("db-migrate", url)
        .with("OWNER_DATABASE_URL", url)
        .with(
            "RUNTIME_DATABASE_URL",
            &url.replace("postgres@", "tls_runtime@"),
        );
    if let Some(bundle) = bundle {
        function = function.with("DATABASE_CA_BUNDLE", bundle);
    }
    match function.invoke(json!({})).await {
        Outcome::Success(_) => None,
        Outcome::FunctionError { message, .. } => Some(message),
        other => panic!("{url}: {other:?}"),
    }
}

#[test]
fn f41_only_a_server_that_proves_its_name_is_talked_to() {
    run(async {
        let server = Server::start(server_options("tls"))
            .await
            .expect("Postgres");
        let (trusted, other) = (authority(), authority());
        let (trusted_pem, other_pem) = (trusted.pem(), other.pem());
        let port = server.port();
        let url =
            |host: &str| format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full");
        let untrusted = Some("the database request failed (connection: TLS)".to_owned());
        let mut conn = PgConnection::connect(&server.url("postgres"))
            .await
            .expect("a connection");

        // A server without TLS is not talked to in plain text.
        assert_eq!(
            failure(&url("localhost"), Some(&trusted_pem)).await,
            untrusted
        );
        use_certificate(&server, &trusted, &["localhost"]).await;
        assert_eq!(failure(&url("localhost"), Some(&trusted_pem)).await, None);
        let both = format!("{other_pem}{trusted_pem}");
        assert_eq!(failure(&url("localhost"), Some(&both)).await, None);
        // Nobody we trust has signed it; or it has another name.
        assert_eq!(failure(&url("localhost"), None).await, untrusted);
        assert_eq!(
            failure(&url("localhost"), Some(&other_pem)).await,
            untrusted
        );
        assert_eq!(
            failure(&url("127.0.0.1"), Some(&trusted_pem)).await,
            untrusted
        );
        use_certificate(&server, &other, &["localhost"]).await;
        assert_eq!(
            failure(&url("localhost"), Some(&trusted_pem)).await,
            untrusted
        );
        set_tls(&mut conn, false).await;
        assert_eq!(
            failure(&url("localhost"), Some(&other_pem)).await,
            untrusted
        );
        // Outside this machine, nothing else can be asked for.
        for mode in ["disable", "allow", "require", "verify-ca"] {
            let url = format!("postgres://postgres@db.example/postgres?sslmode={mode}");
            let refused = failure(&url, None).await;
            let reason = refused.expect(mode);
            assert!(reason.ends_with("set sslmode=verify-full"), "{reason}");
        }
    });
}
