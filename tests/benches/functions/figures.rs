//! The table: one line per function, a star behind each figure above its limit, and what they come to.

use dev::runtime::Outcome;

use crate::kind::Kind;

/// The characters of a failed call's answer that are printed.
const MAX_ANSWER_CHARS: usize = 200;

pub struct Figures {
    pub name: String,
    pub kind: Kind,
    pub zipped_bytes: usize,
    /// From the start to the first poll, sorted.
    pub starts_ms: Vec<f64>,
    /// The most memory at a first poll.
    pub started_kib: u64,
    /// The most memory of the instance that was called.
    pub peak_kib: u64,
    /// Its start.
    pub init_ms: f64,
    /// The cold one, and those after it.
    pub calls: Vec<Call>,
    /// In how many periods that instance used up its share of the processor. `None` without a control group.
    pub waits: Option<u64>,
}

pub struct Call {
    pub milliseconds: f64,
    /// The status of the response, or a word for the outcome.
    pub status: String,
    /// What was answered instead of a success.
    pub failure: Option<String>,
}

impl Call {
    pub fn of(function: &str, outcome: &Outcome, milliseconds: f64) -> Self {
        let (status, is_success) = match outcome {
            Outcome::Success(answer) => match (answer["statusCode"].as_u64(), &answer["outcome"]) {
                // Its only answer.
                (Some(404), _) if function == "not-found" => ("404".to_owned(), true),
                (Some(status), _) => (status.to_string(), (200..300).contains(&status)),
                (None, word) => {
                    let word = word.as_str().unwrap_or("done");
                    (word.to_owned(), ["completed", "done"].contains(&word))
                }
            },
            Outcome::FunctionError { .. } => ("error".to_owned(), false),
            Outcome::Crashed { .. } => ("crash".to_owned(), false),
            Outcome::TimedOut => ("timeout".to_owned(), false),
        };
        let answer = || {
            format!("{outcome:?}")
                .chars()
                .take(MAX_ANSWER_CHARS)
                .collect()
        };
        Self {
            milliseconds,
            status,
            failure: (!is_success).then(answer),
        }
    }
}

impl Figures {
    fn zipped_mb(&self) -> f64 {
        megabytes(u64::try_from(self.zipped_bytes).expect("a size"))
    }

    fn peak_mb(&self) -> f64 {
        megabytes(self.peak_kib * 1_024)
    }

    fn median_start_ms(&self) -> f64 {
        self.starts_ms[self.starts_ms.len() / 2]
    }

    pub fn print(&self) {
        let limits = self.kind.limits();
        let of_calls = |text: fn(&Call) -> String| {
            let texts: Vec<String> = self.calls.iter().map(text).collect();
            texts.join(" ")
        };
        let waits = self
            .waits
            .map_or_else(|| "-".to_owned(), |waits| waits.to_string());
        println!(
            "{:>22} {:>10} {:>7} {:>7} {:>7.2} {:>8.1} {:>8} {:>7.2} {:>15} {:>5} {}",
            self.name,
            self.kind.name(),
            marked(
                format!("{:.2}", self.zipped_mb()),
                self.zipped_mb() > limits.zipped_mb
            ),
            marked(
                format!("{:.2}", self.median_start_ms()),
                self.median_start_ms() > limits.first_poll_ms
            ),
            self.starts_ms[self.starts_ms.len() - 1],
            megabytes(self.started_kib * 1_024),
            marked(
                format!("{:.1}", self.peak_mb()),
                self.peak_mb() > limits.memory_mb
            ),
            self.init_ms,
            of_calls(|call| format!("{:.1}", call.milliseconds)),
            waits,
            of_calls(|call| call.status.clone()),
        );
    }
}

pub fn print_head(starts: usize) {
    println!(
        "A MB is a million bytes. * is above the limit. `p50` and `max` are of {starts} starts, up to the first poll. \
         `waits` are periods in which the called instance had used up its share of the processor."
    );
    println!(
        "{:>22} {:>10} {:>7} {:>7} {:>7} {:>8} {:>8} {:>7} {:>15} {:>5} status",
        "function",
        "kind",
        "zip MB ",
        "p50 ms ",
        "max ms",
        "start MB",
        "peak MB ",
        "init ms",
        "cold, warm ms",
        "waits"
    );
}

/// What all lines come to.
#[derive(Debug, Default)]
pub struct Summary {
    functions: usize,
    pub large_packages: usize,
    slow_starts: usize,
    large_memories: usize,
    /// Of functions whose calls failed.
    failures: Vec<String>,
}

impl Summary {
    pub fn add(&mut self, figures: &Figures) {
        let limits = figures.kind.limits();
        self.functions += 1;
        self.large_packages += usize::from(figures.zipped_mb() > limits.zipped_mb);
        self.slow_starts += usize::from(figures.median_start_ms() > limits.first_poll_ms);
        self.large_memories += usize::from(figures.peak_mb() > limits.memory_mb);
        for call in &figures.calls {
            if let Some(failure) = &call.failure {
                self.failures.push(format!("{}: {failure}", figures.name));
            }
        }
    }

    pub fn print(&self) {
        println!(
            "{} functions. Above their limits: {} packages, {} starts, {} memories. {} calls failed.",
            self.functions,
            self.large_packages,
            self.slow_starts,
            self.large_memories,
            self.failures.len()
        );
        for failure in &self.failures {
            println!("  {failure}");
        }
    }
}

fn marked(figure: String, is_above: bool) -> String {
    figure + if is_above { "*" } else { " " }
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).expect("small")) / 1_000.0
}
