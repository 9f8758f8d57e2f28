//! What is let through is read by every server as it was judged.
//!
//! If `AGREE_READINGS` names a file, each body that was let through is added to
//! it as a line of JSON, with what was read: `check-corpus` holds the readers
//! of other languages against it.
#![no_main]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mcp_policy::fuzzing::{Reading, Reference, Said, read, read_batch};
use mcp_policy::{Policy, PolicyLayer};
use mcp_policy_fuzz::tree::{Tree, VIEWS, View};
use mcp_policy_fuzz::{drive, mutate, readers, servers};
use serde_json::{Value, json};

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    drive::policy(
        r#"{
            "version": "1",
            "default": "allow",
            "hide": ["secret"],
            "tools": { "danger": { "action": "deny" } },
            "resources": { "file:///danger/*": { "action": "deny" } },
            "prompts": { "danger": { "action": "deny" } },
            "methods": { "*": "allow", "danger/run": "deny" }
        }"#,
    )
});
static LAYER: LazyLock<PolicyLayer> = LazyLock::new(|| PolicyLayer::new(POLICY.clone()));
static BATCHES: LazyLock<PolicyLayer> =
    LazyLock::new(|| PolicyLayer::new(POLICY.clone()).accept_batches());

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::in_place(data, size, max_size, seed)
});

fuzz_target!(|body: &[u8]| {
    check_batch(body);
    check_batch(&[b"[", body, b"]"].concat());
    let Some(sent) = drive::sent(&LAYER, request(body)) else {
        return;
    };
    assert_eq!(sent, body);
    let reading = read(body).expect("it was judged");
    for (reader, tree) in readers::read(body) {
        for view in VIEWS {
            servers::assert_agrees(&reading, &tree, view, reader);
            servers::assert_allowed(&POLICY, &tree, view, reader);
        }
    }
    if let Some(file) = std::env::var_os("AGREE_READINGS") {
        let file = OpenOptions::new().append(true).create(true).open(file);
        let line = json!({ "body": String::from_utf8_lossy(body), "reading": shown(&reading) });
        writeln!(file.expect("a file to write"), "{line}").expect("room for a line");
    }
});

/// What is let through as a batch has the same messages to every reader.
fn check_batch(body: &[u8]) {
    let sent = drive::sent(&BATCHES, drive::post(body.to_vec()));
    let Some(sent) = sent.filter(|_| body.trim_ascii_start().starts_with(b"[")) else {
        return;
    };
    assert_eq!(sent, body);
    let readings = read_batch(body).expect("it was judged");
    for (reader, tree) in readers::read(body) {
        let items = tree.items();
        assert_eq!(items.len(), readings.len(), "{reader}: {tree:?}");
        for (reading, item) in readings.iter().zip(items) {
            for view in VIEWS {
                servers::assert_agrees(reading, item, view, reader);
                servers::assert_allowed(&POLICY, item, view, reader);
            }
        }
    }
}

/// The request of an honest client, whose headers say what the body says.
fn request(body: &[u8]) -> Request<Full<Bytes>> {
    let mut request = drive::post(body.to_vec());
    let Ok(message) = serde_json::from_slice::<Tree>(body) else {
        return request;
    };
    let get = |path: &[&str]| {
        path.iter()
            .try_fold(&message, |tree, key| tree.get(key, View::Last))
            .and_then(Tree::text)
    };
    let version = get(&["params", "_meta", "io.modelcontextprotocol/protocolVersion"]);
    if version.is_none() {
        return request;
    }
    let naming = ["name", "uri", "taskId"]
        .into_iter()
        .find_map(|key| get(&["params", key]));
    for (header, value) in [
        ("mcp-protocol-version", version),
        ("mcp-method", get(&["method"])),
        ("mcp-name", naming),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            request.headers_mut().insert(header, value);
        }
    }
    request
}

/// A reading for other languages: a string, `null` where there is nothing, and
/// `false` where what there is decides nothing.
fn shown(reading: &Reading) -> Value {
    let said = |said: &Said| match said {
        Said::Absent => Value::Null,
        Said::Text(text) => json!(text),
        Said::Unreadable => json!(false),
    };
    json!({
        "kind": reading.kind,
        "method": reading.method,
        "name": said(&reading.name),
        "uri": said(&reading.uri),
        "taskId": said(&reading.task_id),
        "protocolVersion": said(&reading.protocol_version),
        "ref": reading.reference.as_ref().map(|reference| match reference {
            None => json!(false),
            Some(Reference::Prompt(name)) => json!({ "type": "ref/prompt", "name": name }),
            Some(Reference::Resource(uri)) => json!({ "type": "ref/resource", "uri": uri }),
        }),
        "notifications": reading.subscriptions.as_ref().map(|subscriptions| match subscriptions {
            None => json!(false),
            Some(asked) => json!({
                "resourceSubscriptions": asked.resources,
                "taskIds": asked.tasks,
            }),
        }),
        "argumentKeys": reading.argument_keys,
    })
}
