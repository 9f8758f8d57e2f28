//! What goes over the wire: raw requests in, and what the server behind the
//! layer executed and the client got.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed, which is the point"
)]

mod approvals;
mod approved;
mod audit;
mod batches;
mod callers;
mod guarded;
mod headers;
mod http_faults;
mod judged;
mod later;
mod list_changed;
mod lists;
mod malformed;
mod nested;
mod pins;
mod reload;
mod risk;
mod risk_attacks;
mod rounds;
mod rules;
mod server;
mod stacked;
mod streams;
mod tasks;
mod verdicts;
mod versions;
