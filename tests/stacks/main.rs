//! The layer in every stack that it is made for: each compiles, and real calls
//! go through it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests"
)]

mod axum_router;
mod bounds;
mod grpc;
mod hyper_server;
mod legacy_client;
mod limits;
mod rmcp_server;
mod tower_http_above;
mod tower_http_below;
mod two_callers;

#[path = "../support/mod.rs"]
mod support;
