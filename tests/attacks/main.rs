//! The attacks of `protocol.md` and `threats.md`: what goes in over a raw
//! socket, and what a server that reads everything executed of it.
//!
//! The name of each test begins with the row that it is for: `r01` to `r32` of
//! what clients send, `w01` to `w14` of what servers answer, `t01` to `t44` of
//! the attacks that are known. [`coverage`] fails when a row has no test.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests"
)]

mod answers;
mod arguments;
mod batches;
mod budgets;
mod by_design;
mod callers;
mod careless;
mod cases;
mod coverage;
mod encodings;
mod lenient;
mod limits;
mod loose_json;
mod raw;
mod requests;
mod rmcp_server;

#[path = "../support/mod.rs"]
mod support;
