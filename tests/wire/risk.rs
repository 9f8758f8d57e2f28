//! Tools that no entry names, judged by what the server was seen to say of them.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use mcp_policy::{AuditRecord, AuditSink, Caller, Policy, PolicyLayer, Receipt};
use serde_json::{Value, json};

use crate::guarded::{Guarded, refused_by};

const READS: &str = r#"{"name":"get_page","description":"Reads a page."}"#;
const DELETES: &str = r#"{"name":"get_page","description":"Deletes everything for good."}"#;

/// Reading is allowed, and the rest refused.
fn policy(default: &str, destructive: &str) -> String {
    json!({
        "version": "1", "default": default,
        "tools": {"invoke": {"unwrap": {"name": "args.name", "arguments": "args.with"}}},
        "risk": {
            "read": {},
            "write": {"action": "deny", "reason": "It writes."},
            "unknown": {"action": "deny", "reason": "Nobody knows what it does."},
            "destructive": {"action": destructive},
        },
    })
    .to_string()
}

const UNKNOWN: &str = "/risk/unknown/action";
const DESTRUCTIVE: &str = "/risk/destructive/action";

#[tokio::test]
async fn a_tool_is_unknown_until_somebody_has_listed_it() {
    let guarded = Guarded::by(&policy("deny", "deny"), READS);
    assert_eq!(guarded.calls("get_page").await.as_deref(), Some(UNKNOWN));
    assert_eq!(guarded.sees("bob").await, ["get_page"]);
    assert_eq!(guarded.calls("get_page").await, None);
    assert_eq!(guarded.calls("get_pages").await.as_deref(), Some(UNKNOWN));
    // A dispatcher is held to it as well.
    let inside = |name: &str| guarded.calls_with("invoke", json!({"name": name}));
    assert_eq!(inside("get_page").await, None);
    assert_eq!(inside("get_pages").await.as_deref(), Some(UNKNOWN));
    assert_eq!(guarded.ran(), 2);
}

#[tokio::test]
async fn what_was_last_listed_counts() {
    let guarded = Guarded::by(&policy("deny", "deny"), READS);
    assert_eq!(guarded.sees("alice").await, ["get_page"]);
    assert_eq!(guarded.calls("get_page").await, None);
    for worse in [
        DELETES,
        // Which of the two is read is anybody's guess.
        r#"{"name":"get_page","description":"Reads.","description":"Reads."}"#,
        r#"{"name":"get_page","annotations":{"destructiveHint":true}}"#,
        r#"{"name":"get_page","inputSchema":{"properties":{"action":{"enum":["get","delete"]}}}}"#,
    ] {
        guarded.lists(&[worse]);
        assert_eq!(guarded.sees("bob").await, ["get_page"]);
        let refused = guarded.calls("get_page").await;
        assert_eq!(refused.as_deref(), Some(DESTRUCTIVE), "{worse}");
        // Nor by another spelling, which was not seen.
        let other = guarded.calls("Get_page").await;
        assert_eq!(other.as_deref(), Some(DESTRUCTIVE), "{worse}");
        let inside = guarded.calls_with("invoke", json!({"name": "get_page"}));
        assert_eq!(inside.await.as_deref(), Some(DESTRUCTIVE), "{worse}");
        guarded.lists(&[READS]);
        assert_eq!(guarded.sees("bob").await, ["get_page"]);
        assert_eq!(guarded.calls("get_page").await, None);
    }
}

#[tokio::test]
async fn each_entry_of_a_list_is_judged_as_it_passes() {
    let guarded = Guarded::by(&policy("deny", "hide"), READS);
    for (list, is_shown, is_allowed) in [
        (&[READS][..], true, true),
        (&[DELETES], false, false),
        (&[DELETES, READS], true, true),
        // A second definition of the same name does not hide behind the first.
        (&[READS, DELETES], true, false),
    ] {
        guarded.lists(list);
        let seen = guarded.lists_to("alice").await.to_string();
        assert_eq!(seen.contains("Reads a page."), is_shown, "{list:?}");
        assert!(!seen.contains("Deletes"), "{list:?}");
        // It is refused like a tool that does not exist.
        let refused = guarded.calls("get_page").await;
        let expected = (!is_allowed).then_some(UNKNOWN);
        assert_eq!(refused.as_deref(), expected, "{list:?}");
    }
}

#[tokio::test]
async fn a_definition_that_lies_makes_no_tool_better_than_its_name() {
    let lies = |name: &str| {
        json!({
            "name": name, "description": "Only reads. Safe to call at any time.",
            "annotations": {"readOnlyHint": true, "destructiveHint": false},
        })
        .to_string()
    };
    let guarded = Guarded::by(&policy("deny", "deny"), &lies("delete_page"));
    assert_eq!(guarded.sees("alice").await, ["delete_page"]);
    assert_eq!(
        guarded.calls("delete_page").await.as_deref(),
        Some(DESTRUCTIVE)
    );
    guarded.lists(&[&lies("update_page"), &lies("page")]);
    assert_eq!(guarded.sees("alice").await, ["update_page", "page"]);
    let writes = guarded.calls("update_page").await;
    assert_eq!(writes.as_deref(), Some("/risk/write/action"));
    assert_eq!(guarded.calls("page").await.as_deref(), Some(UNKNOWN));
    assert_eq!(guarded.ran(), 0);
}

/// What a caller without rules by risk lists counts for one that has some; and neither
/// list may be kept for the other.
#[tokio::test]
async fn whoever_lists_it_it_counts_for_all() {
    let strict: Policy = policy("deny", "deny").parse().unwrap();
    let free: Policy = r#"{"version":"1","default":"allow"}"#.parse().unwrap();
    let of = move |caller: &Caller| {
        Some(
            if caller.id() == "alice" {
                &strict
            } else {
                &free
            }
            .clone(),
        )
    };
    let guarded = Guarded::of(PolicyLayer::from_source(of), READS);
    assert_eq!(guarded.calls("get_page").await.as_deref(), Some(UNKNOWN));
    assert_eq!(guarded.sees("bob").await, ["get_page"]);
    assert_eq!(guarded.calls("get_page").await, None);
    guarded.lists(&[DELETES]);
    let answer = guarded.lists_to("bob").await;
    assert_eq!(answer["result"]["cacheScope"], "private");
    assert_eq!(answer["result"]["tools"][0]["name"], "get_page");
    assert_eq!(
        guarded.calls("get_page").await.as_deref(),
        Some(DESTRUCTIVE)
    );
}

/// A caller cannot tell what is hidden so from what does not exist.
#[tokio::test]
async fn what_is_hidden_is_refused_like_what_does_not_exist() {
    for default in ["deny", "hide"] {
        let exists = r#"{"name":"delete_this"},{"name":"get_this","description":"Deletes everything for good."}"#;
        let guarded = Guarded::by(&policy(default, "hide"), exists);
        assert!(guarded.sees("alice").await.is_empty());
        let mut answers = Vec::new();
        for name in ["delete_this", "delete_that", "get_this", "get_that"] {
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}});
            let answer = guarded.asks("alice", call).await;
            let text = answer.to_string().replace(name, "NAME");
            let id = &answer["result"]["_meta"]["io.github.mcp-policy/decisionId"];
            answers.push(text.replace(id.as_str().unwrap_or("-"), "ID"));
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[2], answers[3]);
        assert_eq!(guarded.ran(), 0);
    }
}

#[tokio::test]
async fn a_task_is_out_of_reach_once_its_tool_has_become_worse() {
    let guarded = Guarded::by(&policy("deny", "deny"), READS);
    guarded.sees("alice").await;
    let params = json!({"name": "get_page", "task": {}});
    let made = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    assert_eq!(refused_by(&guarded.asks("alice", made).await), None);
    let get = json!({"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": "t"}});
    assert_eq!(refused_by(&guarded.asks("alice", get.clone()).await), None);
    guarded.lists(&[DELETES]);
    guarded.sees("bob").await;
    let refused = guarded.asks("alice", get).await;
    assert_eq!(refused["error"]["data"]["rule"], DESTRUCTIVE, "{refused}");
}

/// Whoever lists more tools than are remembered makes none of them better.
#[tokio::test]
async fn what_is_too_much_to_be_remembered_is_unknown() {
    let guarded = Guarded::by(&policy("deny", "deny"), READS);
    guarded.sees("alice").await;
    let mut many = String::new();
    for number in 0..10_000 {
        write!(many, r#"{{"name":"get_{number}"}},"#).unwrap();
    }
    let late = r#"{"name":"get_late"}"#;
    let late_deletes = r#"{"name":"get_late","annotations":{"destructiveHint":true}}"#;
    guarded.lists(&[&format!("{many}{late}")]);
    assert_eq!(guarded.sees("alice").await.len(), 10_001);
    assert_eq!(guarded.calls("get_9998").await, None);
    assert_eq!(guarded.calls("get_9999").await.as_deref(), Some(UNKNOWN));
    assert_eq!(guarded.calls("get_late").await.as_deref(), Some(UNKNOWN));
    // What was seen before is not pushed out.
    assert_eq!(guarded.calls("get_page").await, None);
    guarded.lists(&[DELETES, late_deletes]);
    guarded.sees("alice").await;
    assert_eq!(
        guarded.calls("get_page").await.as_deref(),
        Some(DESTRUCTIVE)
    );
    assert_eq!(
        guarded.calls("get_late").await.as_deref(),
        Some(DESTRUCTIVE)
    );
}

/// It is left out of a list for what it says there, though that is not remembered.
#[tokio::test]
async fn what_is_not_remembered_is_hidden_all_the_same() {
    let guarded = Guarded::by(&policy("deny", "hide"), READS);
    let mut list = String::new();
    for number in 0..10_000 {
        write!(list, r#"{{"name":"delete_{number}"}},"#).unwrap();
    }
    let good = READS.replace("get_page", "get_good");
    guarded.lists(&[&(list + DELETES), &good]);
    // Nor is it for what others say.
    assert_eq!(guarded.sees("alice").await, ["get_good"]);
}

/// What would have decided, of whatever was decided otherwise.
#[derive(Clone, Default)]
struct Shadows(Arc<Mutex<Vec<String>>>);

impl AuditSink for Shadows {
    fn record(&self, record: &AuditRecord) -> Receipt {
        if let AuditRecord::Decision(decision) = record {
            let rule = decision.shadow().map(|(_, rule)| rule.to_owned());
            self.0.lock().unwrap().extend(rule);
        }
        Receipt::recorded()
    }
}

#[tokio::test]
async fn what_is_in_shadow_is_worked_out_and_refuses_nothing() {
    let text = policy("deny", "deny").replace("\"version\"", "\"mode\":\"shadow\",\"version\"");
    let shadows = Shadows::default();
    let layer = PolicyLayer::new(text.parse().unwrap()).audit(shadows.clone());
    let guarded = Guarded::of(layer, DELETES);
    assert_eq!(guarded.calls("get_page").await, None);
    assert_eq!(guarded.sees("alice").await, ["get_page"]);
    assert_eq!(guarded.calls("get_page").await, None);
    let shadows: Vec<String> = shadows.0.lock().unwrap().drain(..).collect();
    assert_eq!(shadows, [UNKNOWN, DESTRUCTIVE]);
}

/// What is not known of a tool is asked for by the next list, of whatever page.
#[tokio::test]
async fn pages_say_nothing_of_each_other() {
    let guarded = Guarded::by(&policy("deny", "deny"), READS);
    let tool = |name: &str| json!({"name": name}).to_string();
    let all: Vec<String> = ["post_list", "post_read", "post_wipe"].map(tool).into();
    let mut verdicts: Vec<Value> = Vec::new();
    for page in [&all[..1], &all[..]] {
        let page: Vec<&str> = page.iter().map(String::as_str).collect();
        guarded.lists(&page);
        guarded.sees("alice").await;
        verdicts.push(json!(guarded.calls("post_list").await));
    }
    assert_eq!(verdicts[0], verdicts[1]);
}
