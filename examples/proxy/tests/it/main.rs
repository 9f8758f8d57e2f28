//! The built proxy, started as a user starts it, between a client and an
//! upstream that these tests play themselves.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod access;
mod approvals;
mod ask;
mod attack;
mod audit;
mod bridge;
mod command_line;
mod commands;
mod console;
mod demo;
mod fake;
mod gateway;
mod gateway_around;
mod gateway_attacked;
mod gateway_changes;
mod gateway_clients;
mod gateway_commands;
mod gateway_ends;
mod gateway_faults;
mod gateway_state;
mod gateway_tokens;
mod issuer;
mod limits;
mod load;
mod monitor;
mod pages;
mod public;
mod recorded;
mod reload;
mod scan;
mod secrets;
mod shutdown;
mod start;
mod state;
mod stdio;
mod stdio_server;
mod stories;
mod streams;
mod support;
mod traces;
mod upstream;
mod webhook;
