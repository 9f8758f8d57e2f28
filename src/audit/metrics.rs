//! Counts, for whichever recorder the embedder has set up.

mod keys;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use metrics::{Label, Level, Metadata, SharedString, counter, gauge};

use super::kinds::Ending;
use super::record::DecisionRecord;
use crate::lock::lock;
use crate::mcp::method;
use crate::policy::unescape;

/// Decisions, by `server`, `method`, `tool`, `verdict` and `rule`.
const DECISIONS: &str = "mcp_policy_decisions_total";
/// How long messages took, in seconds, by `server` and `ending`.
const LATENCY: &str = "mcp_policy_latency_seconds";
/// Records that are not written yet.
const WAITING: &str = "mcp_policy_audit_waiting_records";

/// Answers that went out before their outcome was recorded.
const LOST: &str = "mcp_policy_audit_late_outcomes_total";

/// Different tools and rules that get a label of their own in the life of a process:
/// policies come and go, and what is counted once stays.
const MOST_LABELS: usize = 2_000;

/// What is not told from others.
const OTHER: &str = "other";
const NONE: &str = "none";

/// Counts a decision, and how its message ended.
pub(super) fn ended(record: &DecisionRecord, ending: Ending, latency: Duration) {
    let (decision, duration) = keys::of(record, ending);
    metrics::with_recorder(|recorder| {
        let decisions = recorder.register_counter(&decision, &METADATA);
        decisions.increment(1);
        let latencies = recorder.register_histogram(&duration, &METADATA);
        latencies.record(latency);
    });
}

/// As the macros of `metrics` would say it.
static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

fn labels_of_decision(record: &DecisionRecord, tool: Option<Cow<'_, str>>) -> [Label; 5] {
    [
        Label::new("server", server(record)),
        Label::from_static_parts("method", method_label(record)),
        Label::new("tool", tool.map_or(SharedString::const_str(NONE), known)),
        Label::from_static_parts("verdict", record.verdict().as_str()),
        Label::new("rule", known(Cow::Borrowed(record.rule()))),
    ]
}

/// Clients choose what they write there, and may not choose new labels.
fn method_label(record: &DecisionRecord) -> &'static str {
    match record.method().map(method::lookup) {
        Some(Some(known)) => known.name,
        Some(None) => OTHER,
        None => NONE,
    }
}

/// A record waits to be written.
pub(super) fn waits() {
    gauge!(WAITING).increment(1);
}

/// So many do not wait any more.
pub(super) fn settled(records: usize) {
    // Exact, as there are fewer than 2^53 of them.
    gauge!(WAITING).decrement(records as f64);
}

/// An answer goes out before its outcome is recorded.
pub(super) fn lost() {
    counter!(LOST).increment(1);
}

fn server(record: &DecisionRecord) -> SharedString {
    record
        .shared_server()
        .map_or(SharedString::const_str(""), |server: Arc<str>| {
            server.into()
        })
}

/// The tool that is called, as the policy names it: an exact name, or else the pattern
/// that decided; `None` if no tool is called.
fn tool(record: &DecisionRecord) -> Option<Cow<'_, str>> {
    if record.method()? != "tools/call" {
        return None;
    }
    let called = record.inner().or(record.name())?;
    let rule = record.rule();
    if is_of(rule, called) {
        return Some(Cow::Borrowed(called));
    }
    let document = record.policy().map(|policy| policy.document());
    let is_named = document.is_some_and(|document| document.tools.contains_key(called));
    if is_named {
        return Some(Cow::Borrowed(called));
    }
    Some(entry(rule).map_or(Cow::Borrowed(OTHER), Cow::Owned))
}

/// The entry of the tools of a policy that a rule stands in.
fn entry(rule: &str) -> Option<String> {
    let rest = rule.strip_prefix("/tools/")?;
    rest.split('/').next().map(unescape)
}

/// Whether a rule stands in the entry of this very tool, told at a glance: most do that
/// decide.
fn is_of(rule: &str, tool: &str) -> bool {
    let rest = rule
        .strip_prefix("/tools/")
        .and_then(|rest| rest.strip_prefix(tool));
    let is_whole = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_whole && !tool.bytes().any(|byte| matches!(byte, b'/' | b'~'))
}

/// A label that the policy has chosen.
fn known(label: Cow<'_, str>) -> SharedString {
    static KNOWN: LazyLock<Labels> = LazyLock::new(Labels::default);
    KNOWN.get(label)
}

/// The labels that there have been.
#[derive(Default)]
struct Labels(Mutex<HashSet<Arc<str>>>);

impl Labels {
    /// This one, or [`OTHER`] once there are too many.
    fn get(&self, label: Cow<'_, str>) -> SharedString {
        let mut all = lock(&self.0);
        if let Some(label) = all.get(&*label) {
            return SharedString::from_shared(Arc::clone(label));
        }
        if all.len() >= MOST_LABELS {
            return SharedString::const_str(OTHER);
        }
        let label: Arc<str> = label.into();
        all.insert(Arc::clone(&label));
        SharedString::from_shared(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_is_told_at_a_glance_is_the_one_that_is_read() {
        let tools = ["a", "ab", "a/b", "a~1b", "~", "~0", "", "a*"];
        let rests = ["", "/require/0", "/limits/0", "b", "~1b", "/b", "*"];
        let mut told = 0;
        for (tool, rest) in tools.iter().flat_map(|tool| rests.map(|rest| (tool, rest))) {
            for begins in ["/tools/", "/prompts/", "", "/tools"] {
                let rule = format!("{begins}{tool}{rest}");
                for tool in tools.iter().filter(|tool| is_of(&rule, tool)) {
                    assert_eq!(entry(&rule).as_deref(), Some(*tool), "{rule}");
                    told += 1;
                }
            }
        }
        assert!(told > 10, "{told}");
    }

    #[test]
    fn there_are_only_so_many_labels() {
        let labels = Labels::default();
        for number in 0..MOST_LABELS {
            assert_ne!(&*labels.get(number.to_string().into()), OTHER);
        }
        assert_eq!(&*labels.get("0".into()), "0");
        assert_eq!(&*labels.get("another".into()), OTHER);
    }
}
