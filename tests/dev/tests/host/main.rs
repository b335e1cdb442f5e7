//! Real hosts: an sshd, a Docker Engine and the sample agent, driven with the programs a person has.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod agent;
mod engine;
#[path = "../http/mod.rs"]
mod http;
mod kept;
mod sim;
mod sshd;
mod traces;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::Agent;
use dev::host::{Engine, Host, Options, Sshd};
use sshd::{scan, ssh};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use traces::Traces;

/// Longer than anything here takes, on a busy machine too.
const ENOUGH: Duration = Duration::from_secs(30);

/// Says so, and that nothing was proved, where the real thing cannot be had. Where `REQUIRE_HOSTS` is set
/// it has to be there.
fn is_missing(availability: Result<(), String>) -> bool {
    let Err(reason) = availability else {
        return false;
    };
    let required = std::env::var_os("REQUIRE_HOSTS").is_some_and(|value| !value.is_empty());
    assert!(!required, "REQUIRE_HOSTS is set: {reason}");
    // Not with a macro: what those print is seen only when a test fails.
    let mut seen = std::io::stderr();
    writeln!(seen, "\nSKIPPED, NOTHING WAS TESTED: {reason}").unwrap();
    true
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + ENOUGH;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < give_up, "not seen in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn directory(of: &Engine) -> PathBuf {
    of.socket().parent().unwrap().to_owned()
}

/// Ends a program that runs until it is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_engine_is_reached_through_the_connection_unless_that_is_forbidden() {
    if is_missing(Host::availability()) {
        return;
    }
    let host = Host::start("one").await.unwrap();
    let refusing = Options {
        forwarding: false,
        ..Options::default()
    };
    let refusing = Sshd::start(&refusing).await.unwrap();
    for (sshd, is_let_through) in [(&host.sshd, true), (&refusing, false)] {
        let known = sshd.private_key_path().with_file_name("known");
        scan(sshd, &known);
        let key = sshd.private_key_path();
        let port = free_port();
        let forward = format!("127.0.0.1:{port}:{}", host.engine.socket().display());
        let client = ssh(sshd, &key, &known, &["-N", "-L", &forward])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _client = Running(client);
        let answer = until("ssh listens", async || {
            let address = (Ipv4Addr::LOCALHOST, port);
            let mut stream = TcpStream::connect(address).await.ok()?;
            let ping = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n";
            stream.write_all(ping).await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            Some(answer)
        })
        .await;
        assert_eq!(answer.contains("200 OK"), is_let_through, "{answer:?}");
    }
}

/// The owner that [`nothing_outlives_a_killed_owner`] kills: a process of its own, hence a test of its
/// own.
#[tokio::test]
#[ignore = "another test starts it and kills it"]
async fn an_owner_that_waits_to_be_killed() {
    let host = Host::start("owned").await.unwrap();
    Agent::start(&host.engine, "agent", &[])
        .await
        .ready(&host.engine)
        .await;
    let engine = directory(&host.engine);
    let sshd = host.sshd.private_key_path();
    let sshd = sshd.parent().unwrap();
    println!("\nowned {} {}", engine.display(), sshd.display());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_owner() {
    if is_missing(Host::availability()) {
        return;
    }
    let owner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("an_owner_that_waits_to_be_killed")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut owner = Running(owner);
    let output = BufReader::new(owner.0.stdout.take().unwrap());
    let line = output
        .lines()
        .map_while(Result::ok)
        .find(|line| line.starts_with("owned "));
    let line = line.expect("the owner started a host");
    let traces: Vec<Traces> = line
        .split(' ')
        .skip(1)
        .map(|directory| Traces::of(Path::new(directory)))
        .collect();
    assert!(traces.iter().all(|traces| !traces.processes.is_empty()));
    // Drops are not run: this is SIGKILL.
    owner.0.kill().unwrap();
    owner.0.wait().unwrap();
    for traces in traces {
        let gone = async || traces.left().is_empty().then_some(());
        until("everything is gone", gone).await;
    }
}
