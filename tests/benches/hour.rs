//! An hour of virtual time of 1,000 hosts with 24 agents each, of which 30 % fail in mixed ways, and ten runs over 50 such
//! hosts over SSH. `cargo bench -p tests --bench hour` needs 4,096 file descriptors (`ulimit -n 4096`). It panics if an agent
//! has a wrong status in any minute, if a start does not succeed although a host can take the agent, or if a stop is not done
//! in the end; the times are only printed. A failure names its seed: `SIMULATION_SEED=<seed>` repeats it.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a failing benchmark should panic where it fails"
)]

use std::time::Instant;

use tests::suite;
use tests::virtual_fleet::{Inspection, Report, Size, chosen_seed, simulate};
use uuid::Uuid;

const HOUR: Size = Size {
    hosts: 1_000,
    agents_per_host: 24,
    tenants: 50,
    minutes: 60,
    starts: 150,
    stops: 300,
};
const TEN_RUNS: Size = Size {
    hosts: 50,
    agents_per_host: 24,
    tenants: 10,
    // With minute 0.
    minutes: 9,
    starts: 10,
    stops: 20,
};

fn main() {
    suite::run_benchmark(async {
        let functions = [
            "agent-provision",
            "agent-suspend",
            "db-migrate",
            "fleet-refresh",
            "job-run",
            "node-lost",
        ];
        let functions = functions.map(str::to_owned);
        let binaries = dev::build::selected_functions_with_progress(&functions, true).await;
        suite::use_binaries(binaries.expect("release binaries"));
        let seed = chosen_seed().unwrap_or_else(|| Uuid::new_v4().as_u64_pair().1);
        for (label, size, inspection) in [
            ("An hour of virtual time", HOUR, Inspection::Simulated),
            ("Ten runs over SSH", TEN_RUNS, Inspection::OverSsh),
        ] {
            println!("\n{label}:");
            let started = Instant::now();
            let report = simulate(size, inspection, seed).await;
            print(&report);
            println!("  {:.1} s in all", started.elapsed().as_secs_f64());
        }
    });
}

fn print(report: &Report) {
    println!(
        "  {} statuses compared, none wrong",
        report.compared_statuses
    );
    println!(
        "  agents: {} disconnected, {} back, {} lost their container; {} hosts declared lost",
        report.disconnected, report.regained, report.lost, report.lost_hosts
    );
    println!(
        "  all starts and stops done: {} and {}, with {} repeated attempts, in {:.1} s",
        report.started,
        report.stopped,
        report.repeated,
        report.job_time.as_secs_f64()
    );
    println!(
        "  {} runs: {:.2} s on average, at most {:.2} s",
        report.runs,
        report.run_time.as_secs_f64() / f64::from(report.runs),
        report.longest_run.as_secs_f64()
    );
}
