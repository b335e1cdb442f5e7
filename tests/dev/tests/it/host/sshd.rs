use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dev::host::{KeyType, Options, SilentPort, Sshd};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::footprint::Footprint;
use super::is_missing;

/// The ssh program with a key and a file of known host keys.
pub fn ssh(sshd: &Sshd, key: &Path, known: &Path, more: &[&str]) -> Command {
    let mut command = Command::new("ssh");
    command
        .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o"])
        .arg(format!("UserKnownHostsFile={}", known.display()))
        .args(["-o", "IdentitiesOnly=yes", "-i"])
        .arg(key)
        .args(["-p", &sshd.port().to_string()])
        .args(more)
        .arg(format!("{}@127.0.0.1", sshd.user()))
        .stdin(Stdio::null());
    command
}

/// Runs a command on the host. The error is its standard error.
fn remote(sshd: &Sshd, known: &Path, command: &str) -> Result<String, String> {
    let key = sshd.private_key_path();
    let output = ssh(sshd, &key, known, &[]).arg(command).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match output {
        Output { status, stdout, .. } if status.success() => Ok(text(stdout)),
        Output { stderr, .. } => Err(text(stderr)),
    }
}

/// Writes the server's keys to a file, as ssh-keyscan finds them, and returns their fingerprints.
pub fn scan(sshd: &Sshd, into: &Path) -> String {
    let port = sshd.port().to_string();
    let mut keyscan = Command::new("ssh-keyscan");
    let keys = keyscan.args(["-p", &port, "127.0.0.1"]).output().unwrap();
    fs::write(into, keys.stdout).unwrap();
    let mut keygen = Command::new("ssh-keygen");
    let list = keygen.arg("-lf").arg(into).output().unwrap();
    String::from_utf8(list.stdout).unwrap()
}

#[tokio::test]
async fn server_records_commands_and_logins_and_can_change_its_key() {
    if is_missing(Sshd::availability()) {
        return;
    }
    let options = Options {
        host_keys: vec![KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa],
        ..Options::default()
    };
    let sshd = Sshd::start(&options).await.unwrap();
    let directory = sshd.private_key_path().parent().unwrap().to_owned();
    let known = directory.join("known");
    let scanned = scan(&sshd, &known);
    assert_eq!(scanned.lines().count(), 3, "{scanned}");
    for kind in options.host_keys {
        let fingerprint = sshd.fingerprint_of(kind).unwrap();
        assert!(scanned.contains(&format!(" {fingerprint} ")), "{scanned}");
    }
    assert_eq!(
        sshd.fingerprint_of(KeyType::Ed25519),
        Some(sshd.fingerprint())
    );
    assert_eq!(sshd.commands().unwrap(), [""; 0]);
    assert_eq!(sshd.connections().unwrap(), 0);
    let command = "echo \"a  b\"\nprintf '%s' '$(c)' >&2; cat /proc/loadavg >/dev/null";
    assert_eq!(remote(&sshd, &known, command).unwrap(), "a  b\n");
    assert!(remote(&sshd, &known, "exit 3").is_err());
    assert_eq!(sshd.commands().unwrap(), [command, "exit 3"]);
    assert_eq!(sshd.connections().unwrap(), 2);
    let unauthorized = sshd.unauthorized_key_path();
    let refused = ssh(&sshd, &unauthorized, &known, &[]).arg("true").output();
    let refused = String::from_utf8(refused.unwrap().stderr).unwrap();
    assert!(refused.contains("Permission denied"), "{refused}");
    assert_eq!(sshd.connections().unwrap(), 2);

    let fingerprint = sshd.fingerprint();
    sshd.change_host_key().await.unwrap();
    assert_ne!(sshd.fingerprint(), fingerprint);
    let refused = remote(&sshd, &known, "true").unwrap_err();
    assert!(refused.contains("IDENTIFICATION HAS CHANGED"), "{refused}");
    assert!(scan(&sshd, &known).contains(&sshd.fingerprint()));
    remote(&sshd, &known, "true").unwrap();
    assert_eq!(sshd.connections().unwrap(), 3);
    let footprint = Footprint::of(&directory);
    assert!(!footprint.processes.is_empty());
    drop(sshd);
    assert_eq!(footprint.remaining(), [""; 0]);
}

#[tokio::test]
async fn stopping_the_server_ends_its_sessions() {
    if is_missing(Sshd::availability()) {
        return;
    }
    let sshd = Sshd::start(&Options::default()).await.unwrap();
    let known = sshd.private_key_path().with_file_name("known");
    scan(&sshd, &known);
    let key = sshd.private_key_path();
    let mut session = ssh(&sshd, &key, &known, &[])
        .arg("echo here; exec sleep 600")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(session.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    let fingerprint = sshd.fingerprint();
    sshd.stop().unwrap();
    assert!(!session.wait().unwrap().success());
    let closed = TcpStream::connect((Ipv4Addr::LOCALHOST, sshd.port()));
    assert!(closed.await.is_err());
    sshd.restart().await.unwrap();
    assert_eq!(sshd.fingerprint(), fingerprint);
    remote(&sshd, &known, "true").unwrap();

    let silent = SilentPort::start().unwrap();
    let address = (Ipv4Addr::LOCALHOST, silent.port());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = [0];
    let read = stream.read(&mut buffer);
    let read = tokio::time::timeout(Duration::from_millis(200), read).await;
    assert!(read.is_err(), "{read:?}");
}
