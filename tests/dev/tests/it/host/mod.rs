//! Real hosts (an sshd, a Docker Engine, the sample agent), tested with ordinary command line
//! programs.

mod agent;
mod engine;
mod footprint;
mod persistence;
mod sim;
mod sshd;
mod time_lapse;

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::Agent;
use dev::host::{Engine, Host, Options, Sshd};
use footprint::Footprint;
use sshd::{scan, ssh};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any step takes, even on a busy machine.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the test must be skipped because the machine cannot provide what it needs; prints the
/// reason. Panics if `REQUIRE_HOSTS` is set.
fn is_missing(availability: Result<(), String>) -> bool {
    let Err(reason) = availability else {
        return false;
    };
    let required = std::env::var_os("REQUIRE_HOSTS").is_some_and(|value| !value.is_empty());
    assert!(!required, "REQUIRE_HOSTS is set: {reason}");
    // Not eprintln!, whose output the test runner shows for failed tests only.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "\nSKIPPED, NOTHING WAS TESTED: {reason}").unwrap();
    true
}

async fn until<T>(condition: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting: {condition}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn free_port() -> u16 {
    dev::ports::free_port().unwrap()
}

fn directory(engine: &Engine) -> PathBuf {
    engine.socket().parent().unwrap().to_owned()
}

/// A child process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn engine_is_reachable_over_ssh_unless_forwarding_is_disabled() {
    if is_missing(Host::availability()) {
        return;
    }
    let host = Host::start("one").await.unwrap();
    let refusing = Options {
        forwarding: false,
        ..Options::default()
    };
    let refusing = Sshd::start(&refusing).await.unwrap();
    for (sshd, is_forwarded) in [(&host.sshd, true), (&refusing, false)] {
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
        assert_eq!(answer.contains("200 OK"), is_forwarded, "{answer:?}");
    }
}

/// The owner that [`nothing_outlives_a_killed_owner`] kills. It has to be a separate process, so it
/// is a separate test.
#[tokio::test]
#[ignore = "another test starts this one and kills it"]
async fn owner_to_be_killed() {
    let host = Host::start("owned").await.unwrap();
    Agent::start(&host.engine, "agent", &[])
        .await
        .wait_until_ready(&host.engine)
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
        .arg("host::owner_to_be_killed")
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
    let footprint: Vec<Footprint> = line
        .split(' ')
        .skip(1)
        .map(|directory| Footprint::of(Path::new(directory)))
        .collect();
    assert!(
        footprint
            .iter()
            .all(|footprint| !footprint.processes.is_empty())
    );
    // SIGKILL, so no destructor runs.
    owner.0.kill().unwrap();
    owner.0.wait().unwrap();
    for footprint in footprint {
        let is_gone = async || footprint.remaining().is_empty().then_some(());
        until("everything is gone", is_gone).await;
    }
}
