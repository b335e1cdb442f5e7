//! Logging: one JSON object per line.

use std::panic::PanicHookInfo;

use tracing::error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::config;
use super::meter::StatementCounter;
use crate::metrics;

/// Sets up logging, also of panics, and names the stack of the metrics. A `main` without settings calls it first.
pub fn init_logging() {
    if let Some(stack) = config::stack_name() {
        metrics::set_stack(stack);
    }
    // `LOG_LEVEL` applies to our own lines. The lines of libraries can hold headers and addresses, so only
    // their warnings are printed. Those of the database driver also hold SQL: they are counted, never printed.
    let level = config::log_level();
    let printed = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("shared", level)
        .with_target("sqlx", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_filter(printed);
    let counted = Targets::new().with_target("sqlx::query", LevelFilter::DEBUG);
    tracing_subscriber::registry()
        .with(lines)
        .with(StatementCounter.with_filter(counted))
        .init();
    std::panic::set_hook(Box::new(end_process));
}

/// Logs a panic and ends the process, which is then as if it had been killed: its invocation fails, and the next one gets a
/// new process. Release builds could not go on anyway, because code that unwinds is a quarter of a binary. The text of a
/// panic is logged only if it is a literal: others can hold anything.
fn end_process(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let text = panic.payload().downcast_ref::<&str>();
    error!(location, text, "function panicked; its process ends");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use serde_json::Value;

    use super::*;

    const KIND: &str = "TEST_OF_PANICS";

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test runs itself in another process"
    )]
    fn a_panic_is_one_line_without_values_and_ends_the_process() {
        match std::env::var(KIND).as_deref() {
            Ok("literal") => {
                init_logging();
                panic!("a literal");
            }
            Ok("value") => {
                init_logging();
                panic!("the password is {}", std::process::id());
            }
            _ => {}
        }
        for (kind, text) in [("literal", Some("a literal")), ("value", None)] {
            let test =
                "lambda::logging::tests::a_panic_is_one_line_without_values_and_ends_the_process";
            let output = Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", test, "--nocapture"])
                .env(KIND, kind)
                .output()
                .expect("an output");
            assert_eq!(output.status.signal(), Some(6), "{output:?}");
            let printed = String::from_utf8_lossy(&output.stdout);
            let lines = printed.lines().filter_map(|line| {
                let start = line.find('{')?;
                serde_json::from_str::<Value>(&line[start..]).ok()
            });
            let lines: Vec<Value> = lines.collect();
            let [line] = lines.as_slice() else {
                panic!("{output:?}");
            };
            assert_eq!(line["message"], "function panicked; its process ends");
            assert_eq!(line["text"].as_str(), text, "{line}");
            let location = line["location"].as_str().expect("a location");
            assert!(location.contains("logging.rs:"), "{line}");
            assert!(!printed.contains("the password"), "{printed}");
        }
    }
}
