//! Callers and servers who want a call through that rules by risk refuse.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use mcp_policy::{
    ApprovalEvent, ApprovalState, Approvals, Caller, FromClient, FromServer, LivePolicy,
    MemoryApprovalStore, MessageGuard, PolicyLayer, RequestBody,
};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::guarded::{Guarded, refused_by};
use crate::server::{Body, pieces, post};

const READS: &str = r#"{"name":"get_page","description":"Reads a page."}"#;
const RUNS: &str = r#"{"name":"get_page","description":"Runs a shell command."}"#;
const DELETES: &str = r#"{"name":"get_page","description":"Deletes everything for good."}"#;

/// These rules, and the rest follows the default.
fn risk(default: &str, rules: Value) -> String {
    json!({"version": "1", "default": default, "risk": rules}).to_string()
}

fn call(tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}})
}

/// A server whose approvals somebody can give, of which nobody waits.
fn asking(policy: &str, wait: Duration) -> (Guarded, Approvals) {
    let store = Arc::new(MemoryApprovalStore::default());
    let layer = PolicyLayer::new(policy.parse().unwrap()).approval_wait(wait);
    let layer = layer.approval_store(Arc::clone(&store));
    (Guarded::of(layer, READS), Approvals::new(store))
}

async fn approve_all(approvals: &Approvals) -> usize {
    let pending = approvals.list(&[ApprovalState::Pending]).await.unwrap();
    for request in &pending {
        approvals.approve(request.id(), "dora").await.unwrap();
    }
    pending.len()
}

/// Whoever approved a call of a tool that reads was asked by the rule for reading.
#[tokio::test]
async fn what_was_approved_of_a_better_tool_is_asked_again_of_a_worse_one() {
    let asks = json!({"require_approval": true});
    let rules = json!({"read": asks, "unknown": asks, "execute": asks, "destructive": asks});
    for worse in [RUNS, DELETES] {
        let (guarded, approvals) = asking(&risk("deny", rules.clone()), Duration::ZERO);
        guarded.sees("alice").await;
        let refused = guarded.calls("get_page").await;
        assert_eq!(refused.as_deref(), Some("/risk/read/require_approval"));
        assert_eq!(approve_all(&approvals).await, 1);
        guarded.lists(&[worse]);
        guarded.sees("bob").await;
        assert!(guarded.calls("get_page").await.is_some(), "{worse}");
        assert_eq!(guarded.ran(), 0);
        assert_eq!(approve_all(&approvals).await, 1);
        assert_eq!(guarded.calls("get_page").await, None);
    }
}

#[tokio::test]
async fn a_call_that_waited_while_its_tool_became_worse_is_refused() {
    let rules = json!({"read": {"require_approval": true}, "destructive": {"action": "deny"}});
    let (guarded, approvals) = asking(&risk("deny", rules), Duration::from_secs(60));
    guarded.sees("alice").await;
    let mut changes = approvals.changes();
    use futures::StreamExt as _;
    let operator = async {
        let Some(ApprovalEvent::Changed(id, ApprovalState::Pending)) = changes.next().await else {
            panic!("nobody is asked");
        };
        guarded.lists(&[DELETES]);
        guarded.sees("bob").await;
        approvals.approve(id, "dora").await.unwrap();
    };
    let (refused, ()) = tokio::join!(guarded.calls("get_page"), operator);
    assert_eq!(refused.as_deref(), Some("/risk/destructive/action"));
    assert_eq!(guarded.ran(), 0);
}

/// One budget for all tools of a category, whoever calls them by whatever way.
#[tokio::test]
async fn a_rule_by_risk_is_one_budget() {
    let policy = json!({
        "version": "1", "default": "deny",
        "tools": {"invoke": {"unwrap": {"name": "args.calls[*].name", "arguments": "args.calls[*].with"}}},
        "risk": {"read": {"rate_limit": {"max": 3, "window": 60, "scope": "caller"}}},
    });
    let tools: Vec<String> = (0..5).map(|n| format!(r#"{{"name":"get_{n}"}}"#)).collect();
    let tools: Vec<&str> = tools.iter().map(String::as_str).collect();
    let guarded = Guarded::by(&policy.to_string(), &tools.join(","));
    guarded.sees("alice").await;
    assert_eq!(guarded.calls("get_0").await, None);
    let two = json!({"calls": [{"name": "get_1"}, {"name": "get_2"}]});
    assert_eq!(guarded.calls_with("invoke", two.clone()).await, None);
    for name in ["get_3", "get_0"] {
        let refused = guarded.calls(name).await;
        assert_eq!(refused.as_deref(), Some("/risk/read/limits/rate"), "{name}");
    }
    let refused = guarded.calls_with("invoke", two).await;
    assert_eq!(refused.as_deref(), Some("/risk/read/limits/rate"));
    assert_eq!(guarded.ran(), 2);
}

/// A list of the server, on whatever stream, and what is called after it.
struct Streamed {
    layer: PolicyLayer,
}

impl Streamed {
    fn by(policy: &str) -> Self {
        Self {
            layer: PolicyLayer::new(policy.parse().unwrap()),
        }
    }

    /// What comes through of an answer to this.
    async fn answers(&self, method: Method, media_type: &str, body: Value, text: &str) -> String {
        let (media_type, text) = (media_type.to_owned(), text.to_owned());
        let server = service_fn(move |_: Request<RequestBody<Body>>| {
            let answer = Response::builder().header("content-type", media_type.clone());
            let answer = answer.body(pieces([text.clone()])).unwrap();
            async move { Ok::<_, Infallible>(answer) }
        });
        let mut request = post(body.to_string());
        *request.method_mut() = method;
        request.extensions_mut().insert(Caller::new("alice"));
        let answer = self.layer.layer(server).oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    async fn refuses(&self, tool: &str) -> Option<String> {
        let ok = crate::server::OK;
        let answer = self.answers(Method::POST, "application/json", call(tool), ok);
        refused_by(&serde_json::from_str(&answer.await).unwrap())
    }
}

/// What is listed in a stream of events, in a batch, on a stream that nobody asked for or
/// beside a notification counts like what is listed in an answer of its own, and is left
/// out of it all alike.
#[tokio::test]
async fn a_list_counts_on_whatever_way_it_comes() {
    let rules = json!({"read": {}, "destructive": {"action": "hide"}});
    let other = r#"{"name":"get_other"}"#;
    let message = |tools: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"cacheScope":"public","ttlMs":3600000,"tools":[{tools}]}}}}"#
        )
    };
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let notice = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    let json = "application/json";
    let events = "text/event-stream";
    let ways: [(Method, &str, fn(&str, &str) -> String); 5] = [
        (Method::POST, json, |list, _| list.to_owned()),
        (Method::POST, json, |list, notice| {
            format!("[{notice},{list}]")
        }),
        (Method::POST, events, |list, _| {
            format!("id: 1\ndata: {list}\n\n")
        }),
        (Method::POST, events, |list, notice| {
            let (begin, end) = list.split_once("\"tools\":").unwrap();
            format!("data: {notice}\n\ndata: {begin}\r\ndata: \"tools\":{end}\r\n\r\n")
        }),
        (Method::GET, events, |list, notice| {
            format!("data: {notice}\n\ndata: {list}\n\n")
        }),
    ];
    for (method, media_type, write) in ways {
        let streamed = Streamed::by(&risk("deny", rules.clone()));
        for (definition, is_bad) in [(READS, false), (DELETES, true), (READS, false)] {
            let text = write(&message(&format!("{definition},{other}")), notice);
            let shown = streamed
                .answers(method.clone(), media_type, list.clone(), &text)
                .await;
            assert!(shown.contains("get_other"), "{shown}");
            assert!(
                shown.contains(r#""cacheScope":"private","ttlMs":60000"#),
                "{shown}"
            );
            assert_eq!(shown.contains("get_page"), !is_bad, "{shown}");
            assert_eq!(streamed.refuses("get_page").await.is_some(), is_bad);
            assert_eq!(streamed.refuses("get_other").await, None);
        }
    }
}

/// The tools that a server offers to the client's model are none of its own.
#[tokio::test]
async fn what_is_no_list_of_the_server_makes_no_tool_better() {
    let streamed = Streamed::by(&risk("deny", json!({"read": {}})));
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let tools = format!(r#""tools":[{READS}]"#);
    for text in [
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{{{tools}}}}}"#
        ),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"structuredContent":{{{tools}}}}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"_meta":{{{tools}}}}}}}"#),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":"","data":{{{tools}}}}}}}"#
        ),
        r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"get_page"}],"tools":null}}"#
            .to_owned(),
        // Entries of which readers see different names.
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_page","name":"get_page"}]}}"#
            .to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_page","Name":"x"}]}}"#
            .to_owned(),
    ] {
        for (media_type, text) in [
            ("application/json", text.clone()),
            ("text/event-stream", format!("data: {text}\n\n")),
        ] {
            streamed
                .answers(Method::POST, media_type, list.clone(), &text)
                .await;
            let refused = streamed.refuses("get_page").await;
            assert_eq!(refused.as_deref(), Some("(default deny)"), "{text}");
        }
    }
}

/// More tools than are remembered, all of them bad: what is forgotten is no better for it.
#[tokio::test]
async fn what_is_forgotten_of_bad_tools_is_held_against_all_that_nobody_knows() {
    let rules = json!({"read": {}, "unknown": {}, "destructive": {"action": "deny"}});
    let guarded = Guarded::by(&risk("deny", rules), READS);
    guarded.sees("alice").await;
    assert_eq!(guarded.calls("page").await, None);
    let mut many = String::new();
    for number in 0..10_000 {
        write!(many, r#"{{"name":"delete_{number}"}},"#).unwrap();
    }
    let late = DELETES.replace("get_page", "get_late");
    guarded.lists(&[&format!("{many}{late}")]);
    guarded.sees("alice").await;
    for name in ["get_late", "GET_LATE"] {
        let refused = guarded.calls(name).await;
        assert_eq!(
            refused.as_deref(),
            Some("/risk/destructive/action"),
            "{name}"
        );
    }
    // What is known is judged by that.
    assert_eq!(guarded.calls("get_page").await, None);
}

#[test]
fn a_connection_that_is_not_http_judges_by_what_it_listed() {
    let policy = risk(
        "deny",
        json!({"read": {}, "destructive": {"action": "hide"}}),
    );
    let guard = MessageGuard::new(policy.parse().unwrap());
    let [one, other] = ["alice", "bob"].map(|name| guard.connect(Caller::new(name)));
    let calls = || {
        let sent = block_on(one.from_client(call("get_page").to_string().as_bytes()));
        block_on(one.from_server(br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#));
        sent == FromClient::Forward
    };
    assert!(!calls());
    for (definition, is_bad) in [(READS, false), (DELETES, true), (READS, false)] {
        block_on(other.from_client(br#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#));
        let list = format!(r#"{{"jsonrpc":"2.0","id":5,"result":{{"tools":[{definition}]}}}}"#);
        let shown = block_on(other.from_server(list.as_bytes()));
        assert_eq!(shown == FromServer::Forward, !is_bad, "{shown:?}");
        assert_eq!(calls(), !is_bad);
    }
}

/// What was seen before counts after the policy has changed; what nobody looked at then
/// is not known.
#[tokio::test]
async fn what_was_seen_outlives_the_policy() {
    let policy = |rules: Value| risk("deny", rules).parse().unwrap();
    let by_risk = json!({"read": {}, "destructive": {"action": "deny"}});
    let live = LivePolicy::new(policy(json!({})));
    let guarded = Guarded::of(PolicyLayer::from_source(live.clone()), READS);
    guarded.sees("alice").await;
    live.replace(policy(by_risk.clone()));
    assert_eq!(
        guarded.calls("get_page").await.as_deref(),
        Some("(default deny)")
    );
    guarded.sees("alice").await;
    assert_eq!(guarded.calls("get_page").await, None);
    // It is looked at all the same while no policy asks for it.
    live.replace(policy(json!({})));
    guarded.lists(&[DELETES]);
    guarded.sees("alice").await;
    live.replace(policy(by_risk));
    assert_eq!(
        guarded.calls("get_page").await.as_deref(),
        Some("/risk/destructive/action")
    );
    assert_eq!(guarded.ran(), 1);
}
