//! How many instructions it takes to read, judge and filter: `.ci/check-instructions`
//! holds the counts against `instructions.json`. See `README.md`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gungraun::prelude::*;
use http::Request;
use http_body_util::Full;
use mcp_policy::{
    Action, AuditRecord, AuditSink, Policy, PolicyLayer, PolicyService, Receipt, benching,
};
use serde::de::IgnoredAny;
use serde_json::Value;
use support::{
    EVENTS, JSON, Server, events, foreign_text_call, guarded, list, policy, request, serve,
    structured_call, text_call,
};
use tower::Layer as _;

const KB: usize = 1 << 10;
const MB: usize = 1 << 20;

// ===== reading =====

#[library_benchmark]
#[benches::text(args = [100, KB, 64 * KB, MB], setup = text_call)]
#[benches::foreign(args = [KB, MB], setup = foreign_text_call)]
#[benches::structure(args = [KB, 64 * KB, MB], setup = structured_call)]
fn read_message(body: Vec<u8>) -> (bool, Vec<u8>) {
    (benching::read_message(black_box(&body)), body)
}

#[library_benchmark]
#[benches::text(args = [100, KB, 64 * KB, MB], setup = text_call)]
#[benches::foreign(args = [KB, MB], setup = foreign_text_call)]
#[benches::structure(args = [KB, 64 * KB, MB], setup = structured_call)]
fn read_ignored(body: Vec<u8>) -> (bool, Vec<u8>) {
    let read = serde_json::from_slice::<IgnoredAny>(black_box(&body));
    (read.is_ok(), body)
}

#[library_benchmark]
#[benches::text(args = [100, KB, 64 * KB, MB], setup = text_call)]
#[benches::structure(args = [KB, 64 * KB, MB], setup = structured_call)]
fn read_value(body: Vec<u8>) -> (Value, Vec<u8>) {
    (serde_json::from_slice(black_box(&body)).unwrap(), body)
}

#[library_benchmark]
#[benches::text(args = [KB, MB], setup = text_call)]
#[benches::foreign(args = [KB, MB], setup = foreign_text_call)]
fn utf8_std(body: Vec<u8>) -> (bool, Vec<u8>) {
    (std::str::from_utf8(black_box(&body)).is_ok(), body)
}

#[library_benchmark]
#[benches::text(args = [KB, MB], setup = text_call)]
#[benches::foreign(args = [KB, MB], setup = foreign_text_call)]
fn utf8_simd(body: Vec<u8>) -> (bool, Vec<u8>) {
    (simdutf8::basic::from_utf8(black_box(&body)).is_ok(), body)
}

#[library_benchmark]
#[benches::text(args = [KB, MB], setup = text_call)]
fn copy(body: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    (black_box(&body).clone(), body)
}

library_benchmark_group!(
    name = reading,
    benchmarks = [
        read_message,
        read_ignored,
        read_value,
        utf8_std,
        utf8_simd,
        copy
    ]
);

// ===== the whole layer =====

type Asked<S> = (S, Request<Full<Bytes>>);
/// The length of the answer, and what is not to be dropped while it counts.
type Served<S> = (usize, S);

/// A server behind the layer that has answered a request like this one.
fn warm<S: Clone>(service: &S, body: Vec<u8>, once: impl Fn(S, Request<Full<Bytes>>)) -> Asked<S> {
    let body = Bytes::from(body);
    once(service.clone(), request(body.clone()));
    (service.clone(), request(body))
}

fn call_of_many(length: usize) -> Asked<PolicyService<Server>> {
    let service = guarded(policy(100), Server::of_calls());
    warm(&service, text_call(length), |service, request| {
        serve(service, request);
    })
}

fn call_unguarded(length: usize) -> Asked<Server> {
    warm(
        &Server::of_calls(),
        text_call(length),
        |service, request| {
            serve(service, request);
        },
    )
}

fn list_request() -> Vec<u8> {
    br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#.to_vec()
}

fn json_list(count: usize) -> Asked<PolicyService<Server>> {
    let service = guarded(policy(100), Server::answering(list(count), JSON));
    warm(&service, list_request(), |service, request| {
        serve(service, request);
    })
}

fn events_list(count: usize) -> Asked<PolicyService<Server>> {
    let service = guarded(policy(100), Server::answering(events(count), EVENTS));
    warm(&service, list_request(), |service, request| {
        serve(service, request);
    })
}

#[library_benchmark]
#[benches::text(args = [100, KB, 64 * KB], setup = call_of_many)]
fn call_guarded((service, request): Asked<PolicyService<Server>>) -> Served<PolicyService<Server>> {
    (serve(service.clone(), request), service)
}

#[library_benchmark]
#[benches::text(args = [100, KB, 64 * KB], setup = call_unguarded)]
fn call_without_layer((service, request): Asked<Server>) -> Served<Server> {
    (serve(service.clone(), request), service)
}

#[library_benchmark]
#[benches::json(args = [5, 200, 10_000], setup = json_list)]
#[benches::events(args = [5, 200, 10_000], setup = events_list)]
fn list_guarded((service, request): Asked<PolicyService<Server>>) -> Served<PolicyService<Server>> {
    (serve(service.clone(), request), service)
}

// What a filter costs that reads the list as a tree and writes it again.
#[library_benchmark]
#[benches::json(args = [5, 200, 10_000], setup = list)]
fn list_as_value(text: Vec<u8>) -> (Vec<u8>, Value) {
    let mut list: Value = serde_json::from_slice(black_box(&text)).unwrap();
    let tools = list["result"]["tools"].as_array_mut().unwrap();
    tools.retain(|tool| !tool["name"].as_str().unwrap().starts_with("secret_"));
    (serde_json::to_vec(&list).unwrap(), list)
}

library_benchmark_group!(
    name = layer,
    benchmarks = [
        call_guarded,
        call_without_layer,
        list_guarded,
        list_as_value
    ]
);

// ===== recording =====

/// Makes the line of each record, as it is written to a file, and keeps the record.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<AuditRecord>>>);

impl AuditSink for Kept {
    fn record(&self, record: &AuditRecord) -> Receipt {
        black_box(benching::record_line(record));
        self.0.lock().unwrap().push(record.clone());
        Receipt::recorded()
    }
}

/// A layer that records, as a gateway has it.
fn call_that_is_recorded(length: usize) -> (Asked<PolicyService<Server>>, Kept) {
    let kept = Kept::default();
    kept.0.lock().unwrap().reserve(4);
    let layer = PolicyLayer::new(policy(100)).server_name("gateway");
    let service = layer.audit(kept.clone()).layer(Server::of_calls());
    // What is made once a second is not to be made in between.
    while now_within_second() > Duration::from_millis(500) {
        thread::sleep(Duration::from_millis(10));
    }
    let asked = warm(&service, text_call(length), |service, request| {
        serve(service, request);
    });
    (asked, kept)
}

fn now_within_second() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Duration::from_nanos(now.unwrap().subsec_nanos().into())
}

/// The two records of a call, both of the same second, however long the machine stood still
/// in between.
fn recorded(length: usize) -> Vec<AuditRecord> {
    loop {
        let (asked, kept) = call_that_is_recorded(length);
        drop(asked);
        let records = std::mem::take(&mut *kept.0.lock().unwrap());
        if records.first().map(second) == records.last().map(second) {
            return records;
        }
    }
}

fn second(record: &AuditRecord) -> Option<u64> {
    let time = match record {
        AuditRecord::Decision(decision) => decision.time(),
        AuditRecord::Outcome(outcome) => outcome.time(),
        // Nothing else is recorded of a call.
        _ => return None,
    };
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    Some(since.unwrap().as_secs())
}

#[library_benchmark]
#[benches::text(args = [KB], setup = call_that_is_recorded)]
fn call_recorded(
    (asked, kept): (Asked<PolicyService<Server>>, Kept),
) -> (Served<PolicyService<Server>>, Kept) {
    let (service, request) = asked;
    ((serve(service.clone(), request), service), kept)
}

#[library_benchmark]
#[benches::text(args = [KB], setup = recorded)]
fn record_lines(records: Vec<AuditRecord>) -> (usize, Vec<AuditRecord>) {
    let lengths = black_box(&records).iter().map(benching::record_line);
    (lengths.sum(), records)
}

library_benchmark_group!(name = recording, benchmarks = [call_recorded, record_lines]);

// ===== deciding =====

fn decided_before(tools: usize) -> (Policy, String) {
    let (policy, name) = (policy(tools), format!("tool_{}", tools - 1));
    assert!(decide(&policy, &name));
    (policy, name)
}

fn decide(policy: &Policy, name: &str) -> bool {
    let action = Action::call_tool(name).with_arguments(r#"{"path":"/srv/a.txt","amount":5}"#);
    policy.decide(&action.unwrap()).is_allowed()
}

#[library_benchmark]
#[benches::of(args = [10, 100, 10_000], setup = decided_before)]
fn decision((policy, name): (Policy, String)) -> (bool, Policy) {
    (decide(black_box(&policy), &name), policy)
}

library_benchmark_group!(name = deciding, benchmarks = [decision]);

main!(library_benchmark_groups = [reading, layer, recording, deciding]);
