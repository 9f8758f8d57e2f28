//! What several calls that come together use up.

use std::sync::Arc;

use mcp_policy::{
    LimitConclusion, LimitReservation, LimitReserved, LimitStore, Moment, PolicyLayer, StoreAnswer,
};
use serde_json::json;

use crate::{Shared, layer, policy, post, send};

/// Writes down how much it is asked at once.
#[derive(Clone, Default)]
struct Asked(Shared<Vec<usize>>);

impl LimitStore for Asked {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        let charges = reservation.charges().len();
        self.0.lock().unwrap().push(charges);
        StoreAnswer::known(LimitReserved::Admitted { over: None })
    }

    fn conclude(&self, _: &LimitReservation, _: LimitConclusion, _: Moment) {}
}

/// Each of the tools has 32 limits of its own.
fn guarded(mode: &str) -> (PolicyLayer, Asked) {
    let limits: Vec<_> = (0..32)
        .map(|number| json!({ "counter": format!("c{number}"), "window": 60, "max": 9 }))
        .collect();
    let tools: serde_json::Map<_, _> = (0..20)
        .map(|tool| {
            let rule = json!({ "mode": mode, "limits": limits });
            (format!("tool{tool}"), rule)
        })
        .collect();
    let policy = json!({ "version": "1", "default": "deny", "tools": tools });
    let asked = Asked(Arc::default());
    let layer = layer(&policy.to_string()).0.accept_batches();
    (layer.limit_store(asked.clone()), asked)
}

/// Calls of these many tools, each called twice.
fn batch(tools: usize) -> String {
    let calls = (0..2 * tools).map(|id| {
        let name = format!("tool{}", id % tools);
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name } })
    });
    json!(calls.collect::<Vec<_>>()).to_string()
}

#[tokio::test]
async fn a_batch_uses_up_as_many_limits_as_one_call_and_no_more() {
    let (layer, asked) = guarded("enforce");
    for (tools, passes) in [(1, true), (8, true), (9, false), (20, false)] {
        let (received, answer) = send(&layer, post(batch(tools))).await;
        assert_eq!(received.is_some(), passes, "{tools}");
        let asked = std::mem::take(&mut *asked.0.lock().unwrap());
        if passes {
            assert_eq!(asked, [32 * tools]);
            continue;
        }
        assert_eq!(asked, [0; 0]);
        let errors = answer.json();
        assert_eq!(errors.as_array().unwrap().len(), 2 * tools);
        assert!(errors[0].to_string().contains("fewer of them together"));
    }
}

#[tokio::test]
async fn what_is_only_tried_keeps_no_batch_from_passing() {
    let (layer, asked) = guarded("shadow");
    for tools in [9, 16, 20] {
        assert!(send(&layer, post(batch(tools))).await.0.is_some());
    }
    // What is beyond that is not counted.
    assert_eq!(*asked.0.lock().unwrap(), [9 * 32, 512, 512]);
}

/// A sum that cannot be counted is more than any limit admits.
#[tokio::test]
async fn what_is_too_much_together_is_refused_unless_it_is_only_tried() {
    let most = "9000000000000";
    let calls = [1, 2].map(|id| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"run","arguments":{{"amount":{most}}}}}}}"#
        )
    });
    for (mode, passes) in [("enforce", false), ("shadow", true)] {
        let policy = policy(&format!(
            r#"{{ "mode": "{mode}", "limits": [ {{ "counter": "a", "window": 60, "max": {most},
                  "increment_from": "args.amount" }} ] }}"#
        ));
        let asked = Asked(Arc::default());
        let layer = layer(&policy).0.accept_batches().limit_store(asked.clone());
        let (received, answer) = send(&layer, post(format!("[{}]", calls.join(",")))).await;
        assert_eq!(received.is_some(), passes, "{mode}");
        if !passes {
            let rule = &answer.json()[0]["result"]["_meta"]["io.github.mcp-policy/rule"];
            assert_eq!(rule, "/tools/run/limits/a");
            assert_eq!(asked.0.lock().unwrap().len(), 0);
        }
        assert!(send(&layer, post(&calls[0])).await.0.is_some());
    }
}
