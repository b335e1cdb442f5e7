//! The SSH server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dev::host::{KeyType, Options, Silent, Sshd};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::is_missing;
use crate::traces::Traces;

/// The ssh program with our key, and with what it takes for this host's key.
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

/// Runs a command on the host; the standard error goes with the failure.
fn remote(sshd: &Sshd, known: &Path, command: &str) -> Result<String, String> {
    let key = sshd.private_key_path();
    let ran = ssh(sshd, &key, known, &[]).arg(command).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match ran {
        Output { status, stdout, .. } if status.success() => Ok(text(stdout)),
        Output { stderr, .. } => Err(text(stderr)),
    }
}

/// Asks the server for its keys, and ssh-keygen for their fingerprints.
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
async fn ssh_reaches_a_host_and_the_server_tells_what_it_saw() {
    if is_missing(Sshd::availability()) {
        return;
    }
    let options = Options {
        host_keys: vec![KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa],
        ..Options::default()
    };
    let sshd = Sshd::start(&options).await.unwrap();
    let place = sshd.private_key_path().parent().unwrap().to_owned();
    let known = place.join("known");
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
    let stranger = sshd.stranger_key_path();
    let refused = ssh(&sshd, &stranger, &known, &[]).arg("true").output();
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
    let traces = Traces::of(&place);
    assert!(!traces.processes.is_empty());
    drop(sshd);
    assert_eq!(traces.left(), [""; 0]);
}

#[tokio::test]
async fn a_host_that_goes_down_takes_its_sessions_along() {
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
    let mut said = String::new();
    let mut output = BufReader::new(session.stdout.take().unwrap());
    output.read_line(&mut said).unwrap();
    assert_eq!(said, "here\n");
    let fingerprint = sshd.fingerprint();
    sshd.stop().unwrap();
    assert!(!session.wait().unwrap().success());
    let closed = TcpStream::connect((Ipv4Addr::LOCALHOST, sshd.port()));
    assert!(closed.await.is_err());
    sshd.start_again().await.unwrap();
    assert_eq!(sshd.fingerprint(), fingerprint);
    remote(&sshd, &known, "true").unwrap();

    let silent = Silent::start().unwrap();
    let address = (Ipv4Addr::LOCALHOST, silent.port());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut nothing = [0];
    let read = stream.read(&mut nothing);
    let read = tokio::time::timeout(Duration::from_millis(200), read).await;
    assert!(read.is_err(), "{read:?}");
}
