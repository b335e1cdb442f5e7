//! SSH servers and keys as they really are.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use dev::sim::{Fault, Health, Key, Script, Sim};
use shared::domain::address::AddressPolicy;
use shared::domain::fleet::HostReadError;
use shared::hosts::{Fingerprint, HostClient, SshKey, Target};
use tests::run;
use tests::simulated_world::SimulatedWorld;

use super::{start, target};

/// What `ssh-keygen` and `openssl` write. The keys belong to nothing.
const KEYS: [(&str, &str); 8] = [
    (
        "ssh-keygen -t ed25519",
        include_str!("keys/ed25519-openssh.pem"),
    ),
    (
        "ssh-keygen -t ecdsa",
        include_str!("keys/ecdsa-openssh.pem"),
    ),
    ("ssh-keygen -t rsa", include_str!("keys/rsa-openssh.pem")),
    (
        "openssl genpkey -algorithm ed25519",
        include_str!("keys/ed25519-pkcs8.pem"),
    ),
    (
        "ssh-keygen -m PEM -t rsa",
        include_str!("keys/rsa-pkcs1.pem"),
    ),
    (
        "openssl pkcs8 -topk8 of an RSA key",
        include_str!("keys/rsa-pkcs8.pem"),
    ),
    (
        "ssh-keygen -m PEM -t ecdsa",
        include_str!("keys/ecdsa-sec1.pem"),
    ),
    (
        "openssl pkcs8 -topk8 of an ECDSA key",
        include_str!("keys/ecdsa-pkcs8.pem"),
    ),
];

/// The text in lines of this length.
fn wrapped(text: &str, columns: usize, line_end: &str) -> String {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(columns)
        .map(|line| std::str::from_utf8(line).expect("base64"))
        .collect();
    lines.join(line_end) + line_end
}

/// The forms in which a key's text arrives, each with its origin.
fn forms(text: &str) -> Vec<(&'static str, String)> {
    let encoded = STANDARD.encode(text);
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    vec![
        ("as it is", text.to_owned()),
        (
            "$(cat key): without the last line break",
            text.trim_end().to_owned(),
        ),
        ("Windows", text.replace('\n', "\r\n")),
        (
            "Windows, without the last line break",
            text.trim_end().replace('\n', "\r\n"),
        ),
        ("Notepad: a byte order mark", format!("\u{feff}{text}")),
        ("echo $KEY: without line breaks", one_line),
        (
            "a JSON string: escaped line breaks",
            text.replace('\n', "\\n"),
        ),
        (
            "an .env file: in quotation marks",
            format!("\"{}\"\n", text.replace('\n', "\\n")),
        ),
        (
            "openssl ecparam: with a block before it",
            format!(
                "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{text}"
            ),
        ),
        ("base64 -w0", encoded.clone()),
        ("base64: wrapped at 76", wrapped(&encoded, 76, "\n")),
        ("openssl base64: wrapped at 64", wrapped(&encoded, 64, "\n")),
        (
            "certutil: wrapped at 64, CRLF",
            wrapped(&encoded, 64, "\r\n"),
        ),
        (
            "base64 of it without the last line break",
            STANDARD.encode(text.trim_end()),
        ),
        (
            "base64 of it with CRLF",
            STANDARD.encode(text.replace('\n', "\r\n")),
        ),
        ("JavaScript: without padding", STANDARD_NO_PAD.encode(text)),
        ("Python: urlsafe_b64encode", URL_SAFE.encode(text)),
        ("base64 in quotation marks", format!("'{encoded}'")),
    ]
}

#[test]
fn f95_a_key_is_read_in_every_form_in_which_it_is_stored() {
    for (tool, text) in KEYS {
        for (origin, form) in forms(text) {
            assert!(SshKey::parse(&form).is_ok(), "{tool}, {origin}: {form}");
        }
    }
    // The body alone, as some tools show a key.
    let (_, openssh) = KEYS[0];
    let body: Vec<&str> = openssh
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    assert!(SshKey::parse(&body.join("\n")).is_ok());
    for text in [
        "",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZERWYCmtOQ5ntYJU3cg7LwrJOIP8OAlVIyOomE+eo6 test",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        &STANDARD.encode("no key"),
    ] {
        let error = SshKey::parse(text).expect_err(text);
        assert_eq!(
            error.to_string(),
            "the SSH key is no private key, or has a passphrase"
        );
    }
}

#[test]
fn f95_a_wrapped_key_logs_in() {
    run(async {
        let key = Key::random();
        let sim = Sim::start(&key, [Script::new("n1")]).expect("a simulated host");
        for (origin, form) in forms(&key.to_openssh().expect("a key")) {
            let key = SshKey::parse(&form).expect(origin);
            let client = HostClient::new(key, AddressPolicy::Any);
            let connected = client.connect(&target(&sim.hosts()[0])).await;
            connected.expect(origin);
        }
    });
}

/// Two further keys of the host in the next tests: type, text and fingerprint.
fn further_keys() -> [(&'static str, &'static str, &'static str); 2] {
    [
        ("ecdsa-sha2-nistp256", KEYS[1].1, ECDSA_FINGERPRINT),
        ("ssh-rsa", KEYS[2].1, RSA_FINGERPRINT),
    ]
}

/// `ssh-keygen -l` of the keys.
const ECDSA_FINGERPRINT: &str = "SHA256:ncY+/46Z1axRK8cuwN7SCkOJQ2+I62SBGEu1pf3ILps";
const RSA_FINGERPRINT: &str = "SHA256:ajFS/ICXgfCvRhPSMYQRy0hh4mdexGKGXKCppvOStUU";

/// Origin: an OpenSSH server has an Ed25519, an ECDSA and an RSA key, and tools pinned any of them. `PerSourcePenalties`
/// of OpenSSH 9.8 and later refuses clients that end many handshakes.
#[test]
fn f79_a_pin_that_is_not_the_hosts_first_key_costs_one_round_of_probes_once() {
    run(async {
        let [(_, ecdsa, _), (_, rsa, _)] = further_keys();
        let script = Script::new("n1").host_key(ecdsa).host_key(rsa);
        for (handshakes, (key_type, _, fingerprint)) in (2..).zip(further_keys()) {
            let (sim, client) = start(script.clone());
            let pinned = Target {
                fingerprint: Fingerprint::parse(fingerprint),
                ..target(&sim.hosts()[0])
            };
            let connection = client.connect(&pinned).await.expect(key_type);
            assert_eq!(connection.key_type(), key_type);
            assert_eq!(connection.fingerprint().to_string(), fingerprint);
            assert_eq!(client.handshakes(), handshakes, "{key_type}");
            // Whoever knows the type needs one handshake.
            let known = Target {
                node_id: "known".to_owned(),
                key_type: Some(connection.key_type().to_owned()),
                ..pinned.clone()
            };
            client.connect(&known).await.expect(key_type);
            assert_eq!(client.handshakes(), handshakes + 1, "{key_type}");
            // Another key of a known type is another machine: nothing more is asked.
            let changed = Target {
                node_id: "changed".to_owned(),
                fingerprint: Fingerprint::parse(&"A".repeat(43)),
                ..known
            };
            let error = client.connect(&changed).await.expect_err("another key");
            assert_eq!(error.reason(), HostReadError::HostKeyMismatch);
            assert_eq!(client.handshakes(), handshakes + 2, "{key_type}");
        }
        // A pin that no key matches: each key of the host is asked for once.
        let (sim, client) = start(script);
        let unknown = Target {
            fingerprint: Fingerprint::parse(&"A".repeat(43)),
            ..target(&sim.hosts()[0])
        };
        let error = client.connect(&unknown).await.expect_err("another key");
        assert_eq!(error.reason(), HostReadError::HostKeyMismatch);
        assert!(client.handshakes() <= 4, "{}", client.handshakes());
    });
}

#[test]
fn f79_the_type_of_a_hosts_key_is_remembered_by_its_row() {
    run(async {
        let [(_, ecdsa, _), (key_type, rsa, fingerprint)] = further_keys();
        let script = Script::new("n1").host_key(ecdsa).host_key(rsa);
        let fleet = SimulatedWorld::new(vec![script], 1, Health::Healthy).await;
        let world = &fleet.world;
        sqlx::query("UPDATE docker_nodes SET host_key_fingerprint = $1")
            .bind(fingerprint)
            .execute(&world.pool)
            .await
            .expect("a pin");
        let host = &fleet.sim.hosts()[0];
        for (run, connections) in [(1, 3), (2, 4), (3, 5)] {
            let answer = world.refresh().await;
            assert_eq!(answer["read"], 1, "{answer}");
            assert_eq!(host.counts().connections, connections, "run {run}");
            // The next run is a cold one.
            world.logs("fleet-refresh").await;
        }
        let remembered: Option<String> =
            sqlx::query_scalar("SELECT presented_host_key FROM docker_nodes")
                .fetch_one(&world.pool)
                .await
                .expect("a host");
        assert_eq!(remembered, Some(format!("{key_type} {fingerprint}")));
    });
}

/// Origin: `sshd.c` of OpenSSH, `MaxStartups 10:30:100`: of the clients that are not logged in yet, it drops some at
/// random before the exchange of keys.
#[test]
fn f79_a_connection_that_ends_before_the_exchange_of_keys_is_made_again() {
    run(async {
        let (sim, client) = start(Script::new("busy").fault(Fault::ClosesFirst(2)));
        let host = &sim.hosts()[0];
        client.connect(&target(host)).await.expect("a connection");
        assert_eq!(host.counts().connections, 3);
        // Not for ever, and a refused login is not repeated.
        let (sim, client) = start(Script::new("full").fault(Fault::ClosesFirst(u64::MAX)));
        let host = &sim.hosts()[0];
        let error = client
            .connect(&target(host))
            .await
            .expect_err("no greeting");
        assert_eq!(error.reason(), HostReadError::Unreachable);
        assert_eq!(host.counts().connections, 3);
        let (sim, client) = start(Script::new("strict").fault(Fault::AuthRefused));
        let host = &sim.hosts()[0];
        let error = client.connect(&target(host)).await.expect_err("a refusal");
        assert_eq!(error.reason(), HostReadError::AuthFailed);
        assert_eq!(host.counts().connections, 1);
    });
}
