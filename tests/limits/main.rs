//! Limits as they look from outside: what is admitted, what is refused with
//! which words, and what a caller gains by trying.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests"
)]

mod batches;
mod calls;
mod concurrent;
mod frames;
#[allow(dead_code, reason = "the tests of the wire use more of it")]
#[path = "../wire/server.rs"]
mod server;
mod sessions;
mod stores;
#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use mcp_policy::{Caller, PolicyLayer, RequestBody};
use serde_json::Value;

use self::server::{Answer, Body, Exchange, OK, Received, pieces, post};
use self::support::clock::ManualClock;

/// Some time in 2026, in the middle of a minute, an hour and a day.
const NOON: u64 = 1_795_608_030;

/// A layer whose clock stands.
fn layer(policy: &str) -> (PolicyLayer, ManualClock) {
    let clock = ManualClock::at(NOON);
    let layer = PolicyLayer::new(policy.parse().unwrap());
    (layer.clock(clock.clone()), clock)
}

/// A policy with this rule for the tool `run`.
fn policy(rule: &str) -> String {
    format!(r#"{{ "version": "1", "default": "allow", "tools": {{ "run": {rule} }} }}"#)
}

fn run(arguments: &str) -> Request<Body> {
    post(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"run","arguments":{arguments}}}}}"#
    ))
}

fn by(mut request: Request<Body>, caller: &str) -> Request<Body> {
    request.extensions_mut().insert(Caller::new(caller));
    request
}

fn json(body: &str) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/json")
        .body(pieces([body]))
        .unwrap()
}

async fn send(layer: &PolicyLayer, request: Request<Body>) -> (Option<Received>, Answer) {
    let (layer, answer) = (layer.clone(), json(OK));
    Exchange { layer, answer }.send(request).await
}

/// Whether the request gets to the server.
async fn passes(layer: &PolicyLayer, request: Request<Body>) -> bool {
    send(layer, request).await.0.is_some()
}

/// How many of these get to the server before one does not.
async fn admitted(layer: &PolicyLayer, request: impl Fn() -> Request<Body>) -> usize {
    for number in 0..100 {
        if !passes(layer, request()).await {
            return number;
        }
    }
    panic!("nothing is refused")
}

/// What a refused tool call says to machines.
fn meta(answer: &Answer) -> (String, Option<u64>) {
    let json: Value = answer.json();
    assert_eq!(json["result"]["isError"], true, "{json}");
    let meta = &json["result"]["_meta"];
    let rule = meta["io.github.mcp-policy/rule"].as_str().unwrap();
    let wait = meta["io.github.mcp-policy/retryAfterMs"].as_u64();
    (rule.to_owned(), wait)
}

type Never = Infallible;
type ToServer = Request<RequestBody<Body>>;
type Shared<T> = Arc<std::sync::Mutex<T>>;
