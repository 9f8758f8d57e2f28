//! What servers read of a message that was let through.

use mcp_policy::fuzzing::{Reading, Reference, Said};
use mcp_policy::{Action, Policy};

use crate::tree::{Tree, View};

/// A reader sees in the message what was judged, at every path that decides.
pub fn assert_agrees(reading: &Reading, message: &Tree, view: View, reader: &str) {
    let fail = |path: &str, seen: Option<&Tree>, judged: &dyn std::fmt::Debug| {
        panic!("{path}: {reader} ({view:?}) reads {seen:?}, and {judged:?} was judged");
    };
    let get = |path: &[&str]| {
        path.iter()
            .try_fold(message, |tree, key| tree.get(key, view))
    };
    let assert_said = |path: &[&str], judged: &Said| {
        let seen = get(path);
        let agrees = match judged {
            Said::Absent => seen.is_none(),
            Said::Text(judged) => seen.and_then(Tree::text) == Some(judged),
            // It decides nothing.
            Said::Unreadable => true,
        };
        if !agrees {
            fail(&path.join("."), seen, judged);
        }
    };
    let text = |text: &Option<String>| text.clone().map_or(Said::Absent, Said::Text);
    let has = |key| get(&[key]).is_some();

    assert!(matches!(message, Tree::Object(_)), "{reader}: {message:?}");
    assert_said(&["jsonrpc"], &Said::Text("2.0".to_owned()));
    assert_said(&["method"], &text(&reading.method));
    assert_eq!(has("id"), reading.kind != "notification", "{reader}: id");
    let answers = has("result") || has("error");
    assert_eq!(answers, reading.kind == "response", "{reader}: result");
    if reading.kind == "response" {
        return;
    }
    assert_said(&["params", "name"], &reading.name);
    assert_said(&["params", "uri"], &reading.uri);
    assert_said(&["params", "taskId"], &reading.task_id);
    assert_said(
        &["params", "_meta", "io.modelcontextprotocol/protocolVersion"],
        &reading.protocol_version,
    );
    match &reading.reference {
        None => assert_said(&["params", "ref"], &Said::Absent),
        Some(None) => {}
        Some(Some(reference)) => {
            let (kind, name, uri) = match reference {
                Reference::Prompt(name) => ("ref/prompt", text(&Some(name.clone())), Said::Absent),
                Reference::Resource(uri) => {
                    ("ref/resource", Said::Absent, text(&Some(uri.clone())))
                }
            };
            assert_said(&["params", "ref", "type"], &Said::Text(kind.to_owned()));
            assert_said(&["params", "ref", "name"], &name);
            assert_said(&["params", "ref", "uri"], &uri);
        }
    }
    match &reading.subscriptions {
        None => assert_said(&["params", "notifications"], &Said::Absent),
        Some(None) => {}
        Some(Some(subscriptions)) => {
            for (key, judged) in [
                ("resourceSubscriptions", &subscriptions.resources),
                ("taskIds", &subscriptions.tasks),
            ] {
                let seen = get(&["params", "notifications", key]);
                let names: Option<Vec<&str>> = seen
                    .map_or(&[][..], Tree::items)
                    .iter()
                    .map(Tree::text)
                    .collect();
                let same = names.is_some_and(|names| names.iter().eq(judged));
                if !same {
                    fail(key, seen, judged);
                }
            }
        }
    }
    assert_same_keys(
        &reading.argument_keys,
        get(&["params", "arguments"]),
        reader,
    );
}

/// Readers that keep their members in a table give them in any order.
fn assert_same_keys(judged: &[String], arguments: Option<&Tree>, reader: &str) {
    let members = arguments.map_or(&[][..], Tree::members);
    let mut seen: Vec<&str> = members.iter().map(|(key, _)| &**key).collect();
    if judged.len() == 64 {
        assert!(judged.iter().all(|key| seen.contains(&&**key)), "{reader}");
        return;
    }
    let mut judged: Vec<&str> = judged.iter().map(|key| &**key).collect();
    seen.sort_unstable();
    judged.sort_unstable();
    assert_eq!(seen, judged, "{reader}: keys of params.arguments");
}

/// What a reader would do for this message is allowed.
pub fn assert_allowed(policy: &Policy, message: &Tree, view: View, reader: &str) {
    let Some(method) = message.get("method", view).and_then(Tree::text) else {
        return;
    };
    let params = message.get("params", view);
    let param = |key| params?.get(key, view)?.text();
    let reference = |key| params?.get("ref", view)?.get(key, view)?.text();
    let assert = |action: Option<Action<'_>>| {
        let allowed = action.is_some_and(|action| policy.decide(&action).is_allowed());
        assert!(allowed, "{reader} ({view:?}): {message:?}");
    };
    match method {
        "tools/call" => assert(param("name").map(Action::call_tool)),
        "prompts/get" => assert(param("name").map(Action::get_prompt)),
        "resources/read" | "resources/subscribe" => assert(param("uri").map(Action::read_resource)),
        "completion/complete" => {
            let name = reference("name").map(Action::get_prompt);
            assert(name.or(reference("uri").map(Action::read_resource)));
        }
        "subscriptions/listen" => {
            let notifications = params.and_then(|params| params.get("notifications", view));
            let uris = notifications.and_then(|asked| asked.get("resourceSubscriptions", view));
            for uri in uris.map_or(&[][..], Tree::items) {
                assert(uri.text().map(Action::read_resource));
            }
        }
        known if KNOWN.contains(&known) => {}
        other => assert(Some(Action::other_method(other))),
    }
}

/// Methods by which nothing runs, and those of tasks, which depend on more than
/// the message.
const KNOWN: [&str; 18] = [
    "initialize",
    "ping",
    "server/discover",
    "logging/setLevel",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/unsubscribe",
    "tasks/get",
    "tasks/result",
    "tasks/update",
    "tasks/cancel",
    "tasks/list",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
];
