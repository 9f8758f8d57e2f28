//! Counts, for whichever recorder the embedder has set up.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use metrics::{SharedString, counter, gauge, histogram};

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

pub(super) fn decided(record: &DecisionRecord) {
    // Clients choose what they write there, and may not choose new labels.
    let method = match record.method().map(method::lookup) {
        Some(Some(known)) => known.name,
        Some(None) => OTHER,
        None => NONE,
    };
    let labels = [
        ("server", server(record)),
        ("method", SharedString::const_str(method)),
        (
            "tool",
            tool(record).map_or(SharedString::const_str(NONE), known),
        ),
        (
            "verdict",
            SharedString::const_str(record.verdict().as_str()),
        ),
        ("rule", known(Cow::Borrowed(record.rule()))),
    ];
    counter!(DECISIONS, &labels).increment(1);
}

pub(super) fn ended(record: &DecisionRecord, ending: Ending, latency: Duration) {
    histogram!(LATENCY, "server" => server(record), "ending" => ending.as_str()).record(latency);
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
    let document = record.policy().map(|policy| policy.document());
    let is_named = document.is_some_and(|document| document.tools.contains_key(called));
    if is_named {
        return Some(Cow::Borrowed(called));
    }
    let entry = record.rule().strip_prefix("/tools/");
    let entry = entry.and_then(|rest| rest.split('/').next());
    Some(entry.map_or(Cow::Borrowed(OTHER), |entry| Cow::Owned(unescape(entry))))
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
    fn there_are_only_so_many_labels() {
        let labels = Labels::default();
        for number in 0..MOST_LABELS {
            assert_ne!(&*labels.get(number.to_string().into()), OTHER);
        }
        assert_eq!(&*labels.get("0".into()), "0");
        assert_eq!(&*labels.get("another".into()), OTHER);
    }
}
