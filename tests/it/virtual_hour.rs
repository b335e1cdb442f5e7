//! An hour of virtual time of a small fleet that fails in many ways. `cargo bench -p tests --bench hour` has a large one.

use tests::run;
use tests::virtual_fleet::{Inspection, Size, chosen_seed, simulate};

#[test]
fn in_an_hour_of_failing_hosts_no_status_is_wrong_and_every_start_and_stop_is_done() {
    run(async {
        let size = Size {
            hosts: 40,
            agents_per_host: 6,
            tenants: 5,
            minutes: 60,
            starts: 12,
            stops: 18,
        };
        let seed = chosen_seed().unwrap_or(17);
        let report = simulate(size, Inspection::Simulated, seed).await;
        // Otherwise the hour would prove nothing.
        assert!(
            report.disconnected > 0
                && report.regained > 0
                && report.lost > 0
                && report.lost_hosts > 0
                && report.repeated > 0,
            "{report:?}"
        );
    });
}
