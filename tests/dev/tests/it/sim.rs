//! The ports of simulated hosts.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dev::sim::{Fault, Key, Script, Sim, SimHost};
use tokio::task::JoinError;
use tokio::time::timeout;

/// Longer than a step takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// The error is the panic of the change.
async fn set(host: &SimHost, fault: Option<Fault>) -> Result<(), JoinError> {
    let host = host.clone();
    let change = async move { host.update_script(|script| script.fault = fault).await };
    timeout(LONG, tokio::spawn(change)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_listens_again_while_processes_are_started() {
    let sim = Sim::start(&Key::random(), [Script::new("host")]).unwrap();
    let host = &sim.hosts()[0];
    let is_done = AtomicBool::new(false);
    let start_processes = || {
        while !is_done.load(Ordering::Relaxed) {
            assert!(Command::new("true").status().unwrap().success());
        }
    };
    let changes = async {
        for fault in [Some(Fault::Refusing), None].into_iter().cycle().take(40) {
            set(host, fault).await?;
        }
        Ok::<(), JoinError>(())
    };
    let ended = tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(start_processes);
            }
            let ended = tokio::runtime::Handle::current().block_on(changes);
            is_done.store(true, Ordering::Relaxed);
            ended
        })
    });
    ended.unwrap();
}

#[tokio::test]
async fn a_host_that_cannot_listen_again_fails_whoever_waits_for_it() {
    let sim = Sim::start(&Key::random(), [Script::new("host")]).unwrap();
    let host = &sim.hosts()[0];
    set(host, Some(Fault::Refusing)).await.unwrap();
    // Whoever names the port gets it while nobody listens.
    let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, host.port())).unwrap();
    let failed = set(host, None).await.unwrap_err();
    assert!(failed.is_panic(), "{failed}");
}
