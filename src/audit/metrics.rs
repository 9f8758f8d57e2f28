//! Counts, for whichever recorder the embedder has set up.

use std::sync::Arc;
use std::time::Duration;

use metrics::{SharedString, counter, histogram};

use super::record::{DecisionRecord, Ending};
use crate::mcp::method;

/// Decisions, by `server`, `method` and `verdict`.
const DECISIONS: &str = "mcp_policy_decisions_total";
/// How long messages took, in seconds, by `server` and `ending`.
const LATENCY: &str = "mcp_policy_latency_seconds";
/// Panics of what the embedder brought, by `seam`.
const PANICS: &str = "mcp_policy_seam_panics_total";

pub(super) fn decided(record: &DecisionRecord) {
    // Clients choose what they write there, and may not choose new labels.
    let method = match record.method().map(method::lookup) {
        Some(Some(known)) => known.name,
        Some(None) => "other",
        None => "none",
    };
    let verdict = record.verdict().as_str();
    counter!(DECISIONS, "server" => server(record), "method" => method, "verdict" => verdict)
        .increment(1);
}

pub(super) fn ended(record: &DecisionRecord, ending: Ending, latency: Duration) {
    histogram!(LATENCY, "server" => server(record), "ending" => ending.as_str()).record(latency);
}

pub(super) fn panicked(seam: &'static str) {
    counter!(PANICS, "seam" => seam).increment(1);
}

fn server(record: &DecisionRecord) -> SharedString {
    record
        .shared_server()
        .map_or(SharedString::const_str(""), |server: Arc<str>| {
            server.into()
        })
}
