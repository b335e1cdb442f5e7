//! A network namespace of its own, which can be connected with another one and with nothing else.
//!
//! Owns the namespace: it ends with this value, or with this process, as soon as no server runs in
//! it. A shell that waits for the end of its input keeps it, so nothing is left when this process is
//! killed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use super::programs;

/// Says that the namespace is there, and waits for the end of its input.
const KEEP: &str = "echo ready; read -r _";
/// What a host needs to isolate agents, tried out in a namespace.
const TRIAL: &str = "set -e
    ip link set lo up
    ip link add trial0 type veth peer name trial1
    ip link delete trial0
    echo 1 >/proc/sys/net/ipv4/ip_forward
    iptables -t nat -A POSTROUTING -j MASQUERADE
    iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
    iptables -A INPUT -d 192.0.2.1 -p tcp -m tcp --dport 53 -j REJECT --reject-with icmp-admin-prohibited
    printf '*filter\\n:TRIAL - [0:0]\\n-I INPUT 1 -j TRIAL\\nCOMMIT\\n' | iptables-restore -w 10 --noflush
    [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || modprobe br_netfilter
    [ ! -e /proc/net/if_inet6 ] || ip6tables -A INPUT -j REJECT --reject-with icmp6-adm-prohibited";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Its standard input is what it waits for.
    shell: Child,
}

impl Namespace {
    /// Whether a host's packet filter can be set up in a namespace here. The error is a sentence for
    /// the user.
    pub fn availability() -> Result<(), String> {
        static AVAILABILITY: OnceLock<Result<(), String>> = OnceLock::new();
        AVAILABILITY.get_or_init(check_availability).clone()
    }

    /// A namespace without any network but an interface `lo` that is up.
    pub fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "sh", "-c", KEEP])
            .env("PATH", programs::path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal signals our whole process group, but servers in it must end first.
            .process_group(0);
        let mut shell = command.spawn().context("cannot run unshare")?;
        let output = shell.stdout.take().context("the shell has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let namespace = Self { shell };
        if line.is_empty() {
            bail!("a network namespace cannot be created");
        }
        namespace.run("ip", &["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Connects the interface `up0` of this namespace with the interface `out0` of another one. Both
    /// are down.
    pub fn connect(&self, other: &Self) -> Result<()> {
        let other = other.shell.id().to_string();
        let mut words = vec!["link", "add", "up0", "type", "veth"];
        words.extend(["peer", "name", "out0", "netns", other.as_str()]);
        self.run("ip", &words).map(drop)
    }

    /// Runs a program in the namespace and returns its standard output. The error holds its standard
    /// error.
    pub fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let output = self.command(program).args(words).output();
        let output = output.with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("{program}: {}", stderr.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A program that runs in the namespace, without input.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(self.enter(program.into()))
            .env("PATH", programs::path())
            .stdin(Stdio::null());
        command
    }

    /// The arguments of nsenter that run a program in the namespace.
    pub(super) fn enter(&self, program: OsString) -> [OsString; 3] {
        let path = PathBuf::from(format!("/proc/{}/ns/net", self.shell.id()));
        let mut option = OsString::from("--net=");
        option.push(path);
        [option, "--".into(), program]
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Ends the shell.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn check_availability() -> Result<(), String> {
    if programs::current_uid() != 0 {
        return Err("Setting up a packet filter needs root.".to_owned());
    }
    programs::check_namespaces()?;
    for (program, package) in [
        ("nsenter", "util-linux"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
        ("ip6tables", "iptables"),
    ] {
        programs::find(program, package)?;
    }
    let cannot =
        |error: anyhow::Error| format!("A packet filter cannot be set up here: {error:#}.");
    let namespace = Namespace::new().map_err(cannot)?;
    namespace.run("sh", &["-c", TRIAL]).map_err(cannot)?;
    if Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
        Ok(())
    } else {
        Err("The kernel module br_netfilter is not loaded.".to_owned())
    }
}
