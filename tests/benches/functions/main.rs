//! What each function costs: the size of its package, its start, its memory, and the time of a typical call. Marks each
//! figure above its limit. `cargo bench -p tests --bench functions` prints all functions; names choose some of them.
//!
//! Each instance runs in a control group of its own with the memory of the template and the share of a processor that
//! Lambda gives for that, if this machine allows it. Everything else runs outside: Postgres without durable settings, an
//! event bus, a bucket, and simulated hosts. The process starts as a shell, which joins the group; the start is counted
//! from when the shell becomes the function, so that the shell is not part of it.
//!
//! Times are never asserted. The exit code is 1 if a package is above its limit.

#![expect(
    clippy::expect_used,
    reason = "a failing benchmark should panic where it fails"
)]

mod calls;
mod control_group;
mod figures;
mod kind;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use calls::{CALLS, Calls};
use control_group::{ControlGroup, ControlGroups};
use dev::runtime::Instance;
use dev::template::{self, Template};
use figures::{Call, Figures, Summary};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use kind::Kind;
use tests::{Function, suite};

const STARTS: usize = 15;

fn main() -> ExitCode {
    let mut summary = Summary::default();
    suite::run_benchmark(async { summary = measure_all().await });
    summary.print();
    if summary.large_packages == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn measure_all() -> Summary {
    // cargo adds `--bench`.
    let chosen = std::env::args().skip(1);
    let chosen: Vec<String> = chosen.filter(|name| !name.starts_with('-')).collect();
    let mut names = dev::build::function_names().expect("functions");
    let unknown = chosen.iter().find(|name| !names.contains(name));
    assert!(unknown.is_none(), "there is no function {unknown:?}");
    names.retain(|name| chosen.is_empty() || chosen.contains(name));
    // All of them, because calls of one are prepared by others.
    let binaries = dev::build::functions_with_progress(true).await;
    suite::use_binaries(binaries.expect("release binaries"));
    let groups = ControlGroups::find().inspect_err(|reason| {
        println!("No limits of memory and processor time: {reason}.");
    });
    let groups = groups.ok();
    let template = Template::load().expect("template.yaml");
    let mut calls = Calls::new().await;
    figures::print_head(STARTS);
    let mut summary = Summary::default();
    for name in names {
        let function = template.function(&name).expect("a described function");
        let measured = measure(function, groups.as_ref(), &mut calls).await;
        measured.print();
        summary.add(&measured);
    }
    summary
}

async fn measure(
    function: &template::Function,
    groups: Option<&ControlGroups>,
    calls: &mut Calls,
) -> Figures {
    let binary = calls.function(function);
    let (mut starts_ms, mut started_kib) = (Vec::new(), 0);
    for _ in 0..STARTS {
        let (group, instance) = start(&binary, function, groups).await;
        starts_ms.push(first_poll_ms(&instance).await);
        started_kib = started_kib.max(instance.peak_memory_kib().unwrap_or_default());
        instance.kill().await;
        drop(group);
    }
    starts_ms.sort_by(f64::total_cmp);
    let (group, instance) = start(&binary, function, groups).await;
    let init_ms = first_poll_ms(&instance).await;
    let mut made = Vec::new();
    for _ in 0..CALLS {
        let event = calls.event(function).await;
        let began = Instant::now();
        let outcome = instance.invoke(event, function.timeout).await;
        let milliseconds = began.elapsed().as_secs_f64() * 1_000.0;
        made.push(Call::of(&function.name, &outcome, milliseconds));
    }
    let peak_kib = instance.peak_memory_kib().unwrap_or_default();
    instance.kill().await;
    Figures {
        name: function.name.clone(),
        kind: Kind::of(&function.name),
        zipped_bytes: zipped_bytes(&function.name),
        starts_ms,
        started_kib,
        peak_kib,
        init_ms,
        calls: made,
        waits: group.as_ref().and_then(ControlGroup::waits),
    }
}

/// Starts an instance in a new control group, which has its whole share of the processor left.
async fn start(
    binary: &Function,
    function: &template::Function,
    groups: Option<&ControlGroups>,
) -> (Option<ControlGroup>, Instance) {
    let group = groups.map(|groups| groups.create(function.memory_mib).expect("a group"));
    // `:` does nothing. Without a group the start is counted in the same way.
    let joining = group.as_ref().map(ControlGroup::joining_script);
    let joining = joining.unwrap_or_else(|| ":".to_owned());
    let instance = binary.start_after(&joining).await;
    (group, instance)
}

async fn first_poll_ms(instance: &Instance) -> f64 {
    match instance.wait_until_ready().await {
        Ok(time) => time.as_secs_f64() * 1_000.0,
        Err(outcome) => panic!("{outcome:?}: {}", instance.logs().join("\n")),
    }
}

/// The size of a deployment package: the binary, compressed with deflate as in a zip file.
fn zipped_bytes(name: &str) -> usize {
    let binary = std::fs::read(suite::binaries().join(name)).expect("a binary");
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&binary).expect("compressed");
    encoder.finish().expect("compressed").len()
}
