//! What was measured, and how it is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::flood::HOSTILE_CLIENTS;

/// Stands for a status where the connection failed.
pub const NO_ANSWER: u16 = 0;
/// Stands for the status of the edge's answer.
pub const REFUSED_AT_THE_EDGE: u16 = 1;

/// How many responses have each status.
pub type Statuses = BTreeMap<u16, u32>;

/// The responses to hostile clients, by the name of the attack.
pub type Attacks = BTreeMap<String, Statuses>;

pub struct Sample {
    pub status: u16,
    pub milliseconds: f64,
}

/// The measurements of one build.
pub struct Figures {
    pub alone: Vec<Sample>,
    /// Until the edge refused the flood.
    pub at_first: Vec<Sample>,
    /// For the time after that.
    pub beside: Vec<Sample>,
    pub attacks: Attacks,
    /// `None` if the edge refused nothing within the time.
    pub reached_edge_after: Option<Duration>,
    pub flood_lasted: Duration,
}

pub fn print(build: &str, figures: &Figures) {
    println!("\nThe {build} build. The honest client, ten requests a second, ms:");
    println!(
        "{:>16} {:>9} {:>9} {:>9} {:>9}  statuses",
        "", "requests", "p50", "p95", "p99"
    );
    let [alone, at_first, beside] =
        [&figures.alone, &figures.at_first, &figures.beside].map(|samples| refs(samples));
    let all = [at_first.clone(), beside.clone()].concat();
    let reference = percentiles(&alone);
    for (name, samples) in [
        ("alone", &alone),
        ("at first", &at_first),
        ("beside", &beside),
        ("both", &all),
    ] {
        let times = percentiles(samples);
        let [p50, p95, p99] = times;
        let statuses = text(&statuses(samples));
        println!(
            "{name:>16} {:>9} {p50:>9.1} {p95:>9.1} {p99:>9.1}  {statuses}",
            samples.len()
        );
        if name != "alone" {
            let [p50, p95, p99] = [0, 1, 2].map(|n: usize| times[n] / reference[n]);
            println!(
                "{:>16} {:>9} {p50:>8.1}x {p95:>8.1}x {p99:>8.1}x",
                "ratio", ""
            );
        }
    }
    print_flood(figures);
    let mut unexpected = statuses(&[alone, all].concat());
    // 429 is the honest client's own limit.
    unexpected.retain(|status, _| ![200, 429].contains(status));
    if unexpected.is_empty() {
        println!("The honest client saw no status but 200 and its own limits.");
    } else {
        println!("THE HONEST CLIENT ALSO SAW {}", text(&unexpected));
    }
}

fn print_flood(figures: &Figures) {
    let count = |wanted: Option<u16>| -> u32 {
        let statuses = figures.attacks.values().flatten();
        statuses
            .filter(|(status, _)| wanted.is_none_or(|wanted| **status == wanted))
            .map(|(_, count)| count)
            .sum()
    };
    println!(
        "{HOSTILE_CLIENTS} clients of the hostile tenant, {:.0} requests/s: {} refused at the edge, {} by functions.",
        f64::from(count(None)) / figures.flood_lasted.as_secs_f64(),
        count(Some(REFUSED_AT_THE_EDGE)),
        count(Some(429)),
    );
    match figures.reached_edge_after {
        Some(after) => println!(
            "`at first` is until the edge refused a request, {:.1} s.",
            after.as_secs_f64()
        ),
        None => println!("`at first` IS NOT COMPARABLE: the edge refused nothing within its time."),
    }
    for (name, statuses) in &figures.attacks {
        println!("{name:>16} {}", text(statuses));
    }
}

fn refs(samples: &[Sample]) -> Vec<&Sample> {
    samples.iter().collect()
}

fn statuses(samples: &[&Sample]) -> Statuses {
    let mut statuses = Statuses::new();
    for sample in samples {
        *statuses.entry(sample.status).or_default() += 1;
    }
    statuses
}

/// `200: 300, no answer: 2`.
fn text(statuses: &Statuses) -> String {
    let parts = statuses.iter().map(|(status, count)| match *status {
        NO_ANSWER => format!("no answer: {count}"),
        REFUSED_AT_THE_EDGE => format!("429 at the edge: {count}"),
        status => format!("{status}: {count}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn percentiles(samples: &[&Sample]) -> [f64; 3] {
    let mut times: Vec<f64> = samples.iter().map(|sample| sample.milliseconds).collect();
    times.sort_by(f64::total_cmp);
    [50, 95, 99].map(|percent| times[(times.len() - 1) * percent / 100])
}
