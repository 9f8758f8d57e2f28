//! What a call costs that is told in allocations and in bytes.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../benches/support/mod.rs"]
mod support;

use std::mem::size_of;

use allocation_counter::measure;
use bytes::Bytes;
use http_body_util::Full;
use mcp_policy::{
    Action, PolicyLayer, PolicyService, RequestBody, ResponseBody, ResponseFuture, benching,
};
use support::{
    Server, foreign_text_call, guarded, policy, request, serve, structured_call, text_call,
};

#[test]
fn an_ordinary_call_is_read_without_an_allocation() {
    for call in [
        text_call(100),
        text_call(1 << 20),
        foreign_text_call(1 << 20),
        structured_call(1 << 20),
    ] {
        let read = measure(|| assert!(benching::read_message(&call)));
        assert_eq!(read.count_total, 0, "{} bytes", call.len());
    }
}

#[test]
fn an_ordinary_call_is_decided_without_an_allocation() {
    let policy = policy(100);
    let arguments = r#"{"path":"/srv/a.txt","content":"one\ntwo","amount":5}"#;
    let action = Action::call_tool("tool_99").with_arguments(arguments);
    let action = action.unwrap();
    let decided = measure(|| assert!(policy.decide(&action).is_allowed()));
    assert_eq!(decided.count_total, 0);
}

/// What is recorded of it and what its answer waits in is allocated, and grows with nothing.
#[test]
fn a_call_takes_few_allocations_whatever_its_size() {
    let service = guarded(policy(100), Server::of_calls());
    let allocated = |length| {
        let (service, request) = (service.clone(), request(text_call(length)));
        measure(|| assert!(serve(service, request) > 0)).count_total
    };
    // The first of a caller makes its budgets.
    allocated(100);
    let small = allocated(100);
    assert_eq!(allocated(1 << 20), small);
    assert!(small <= 24, "{small} allocations");
}

/// Each is kept for as long as a call lasts, or moved about with every poll of a stack.
#[test]
fn what_stands_in_a_stack_of_layers_is_small() {
    type Body = Full<Bytes>;
    assert_eq!(size_of::<PolicyLayer>(), size_of::<usize>());
    assert_eq!(
        size_of::<PolicyService<Server>>(),
        size_of::<Server>() + size_of::<usize>()
    );
    let sizes = [
        ("request body", size_of::<RequestBody<Body>>(), 40),
        ("response body", size_of::<ResponseBody<Body>>(), 48),
        (
            "future",
            size_of::<ResponseFuture<Server, Body, Body>>(),
            152,
        ),
    ];
    for (what, size, most) in sizes {
        assert!(size <= most, "{what}: {size} bytes");
    }
}
