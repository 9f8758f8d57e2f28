//! How full the memory of limits is, for whichever recorder the embedder has set
//! up.

use std::sync::Arc;

use metrics::{SharedString, counter, gauge};

/// Calls that were refused because there was no room for a further budget, by
/// `server`.
const FULL: &str = "mcp_policy_limits_full_total";
/// Budgets in the memory of this process.
const BUDGETS: &str = "mcp_policy_limit_budgets";

pub(super) fn full(server: &Arc<str>) {
    let server = SharedString::from_shared(Arc::clone(server));
    counter!(FULL, "server" => server).increment(1);
}

pub(super) fn budgets_changed(before: usize, after: usize) {
    // Exact, as there are fewer than 2^53 of them.
    if after > before {
        gauge!(BUDGETS).increment((after - before) as f64);
    } else if before > after {
        gauge!(BUDGETS).decrement((before - after) as f64);
    }
}
