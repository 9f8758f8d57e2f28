//! The messages of a connection that is not HTTP, in any order.
//!
//! A byte that chooses the policy, and frames that end with a NUL: of the
//! server's if they begin with `<`, or else of the client's.
#![no_main]

use std::sync::LazyLock;

use futures::executor::block_on;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mcp_policy::fuzzing::{Filter, read};
use mcp_policy::{Caller, FromClient, FromServer, MessageConnection, MessageGuard, Policy};
use mcp_policy_fuzz::tree::VIEWS;
use mcp_policy_fuzz::{clients, drive, mutate, readers, servers};
use serde::Deserialize;
use serde_json::value::RawValue;

struct Side {
    policy: Policy,
    filter: Filter,
}

static SIDES: LazyLock<Vec<Side>> = LazyLock::new(|| {
    let policies = [
        r#"{"version":"1","default":"deny","hide":["secret"],"tools":{"read":{}},"prompts":{"ask":{}},"resources":{"file:///a":{}}}"#,
        r#"{"version":"1","default":"allow","hide":["secret"],"tools":{"write":{"action":"deny"}},"methods":{"*":"allow","x/y":"deny"}}"#,
        r#"{"version":"1","default":"hide","tools":{"read":{},"wri*":{"action":"deny"}},"methods":{"x/y":"allow"}}"#,
    ];
    let side = |text| {
        let policy: Policy = drive::policy(text);
        let filter = Filter::new(policy.clone()).expect("nothing fails here");
        Side { policy, filter }
    };
    policies.into_iter().map(side).collect()
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::in_place(data, size, max_size, seed)
});

fuzz_target!(|input: &[u8]| {
    let Some((first, frames)) = input.split_first() else {
        return;
    };
    let side = &SIDES[usize::from(*first) % SIDES.len()];
    let connection = MessageGuard::new(side.policy.clone()).connect(Caller::local());
    // Whose a task is depends on what came before: lists of tasks are not held
    // against a filter that knows of none.
    let knows_tasks = input.windows(4).any(|text| text == b"task") || input.contains(&b'\\');
    for frame in frames.split(|byte| *byte == 0).take(64) {
        match frame.strip_prefix(b"<") {
            Some(frame) => from_server(side, &connection, frame, knows_tasks),
            None => from_client(side, &connection, frame),
        }
    }
});

fn from_client(side: &Side, connection: &MessageConnection, frame: &[u8]) {
    match block_on(connection.from_client(frame)) {
        FromClient::Forward => {
            let reading = read(frame).expect("it was judged");
            for (reader, tree) in readers::read(frame) {
                for view in VIEWS {
                    servers::assert_agrees(&reading, &tree, view, reader);
                    servers::assert_allowed(&side.policy, &tree, view, reader);
                }
            }
        }
        FromClient::Refuse(answer) => assert_answers(frame, &answer),
        _ => {}
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer<'a> {
    jsonrpc: String,
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: i32,
    message: String,
}

/// A refusal is an answer, with the id as it stands in the frame.
fn assert_answers(frame: &[u8], answer: &[u8]) {
    let answer: Answer<'_> = serde_json::from_slice(answer).expect("a JSON-RPC answer");
    assert_eq!(answer.jsonrpc, "2.0");
    assert_ne!(answer.result.is_some(), answer.error.is_some());
    if let Some(error) = answer.error {
        assert!(error.code < -30000 && !error.message.is_empty());
    }
    let id = answer.id.get();
    assert!(id.starts_with('"') || id.parse::<i64>().is_ok(), "{id}");
    assert!(frame.windows(id.len()).any(|text| text == id.as_bytes()));
    let asked: Result<std::collections::BTreeMap<String, &RawValue>, _> =
        serde_json::from_slice(frame);
    if let Ok(asked) = asked {
        assert_eq!(asked.get("id").map(|id| id.get()), Some(id));
    }
}

fn from_server(side: &Side, connection: &MessageConnection, frame: &[u8], knows_tasks: bool) {
    let shown = match block_on(connection.from_server(frame)) {
        FromServer::Forward => frame.to_vec(),
        FromServer::Replace(shown) => {
            assert!(!shown.contains(&b'\n') && !shown.contains(&b'\r'));
            shown
        }
        _ => return,
    };
    if !knows_tasks {
        clients::assert_nothing_hidden(&side.filter, &shown);
    }
}
