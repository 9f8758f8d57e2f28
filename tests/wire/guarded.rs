//! A server whose tools can change, and what callers may do with them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use mcp_policy::{Caller, PolicyLayer, RequestBody};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::server::{Body, OK, pieces, post};

pub(crate) struct Guarded {
    layer: PolicyLayer,
    lists: Arc<Mutex<String>>,
    ran: Arc<Mutex<usize>>,
}

impl Guarded {
    /// By this policy, of a server that lists this.
    pub(crate) fn by(policy: &str, lists: &str) -> Self {
        Self::of(PolicyLayer::new(policy.parse().unwrap()), lists)
    }

    pub(crate) fn of(layer: PolicyLayer, lists: &str) -> Self {
        Self {
            layer,
            lists: Arc::new(Mutex::new(lists.to_owned())),
            ran: Arc::default(),
        }
    }

    /// From now on the server lists these tools.
    pub(crate) fn lists(&self, tools: &[&str]) {
        *self.lists.lock().unwrap() = tools.join(",");
    }

    /// How many calls reached the server.
    pub(crate) fn ran(&self) -> usize {
        *self.ran.lock().unwrap()
    }

    pub(crate) async fn asks(&self, caller: &str, body: Value) -> Value {
        let mut request = post(body.to_string());
        request.extensions_mut().insert(Caller::new(caller));
        let lists = self.lists.lock().unwrap().clone();
        let ran = Arc::clone(&self.ran);
        let server = service_fn(move |request: Request<RequestBody<Body>>| {
            let (lists, ran) = (lists.clone(), Arc::clone(&ran));
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let text = match body["method"].as_str() {
                    Some("tools/list") => {
                        format!(
                            r#"{{"jsonrpc":"2.0","id":1,"result":{{"cacheScope":"public","tools":[{lists}]}}}}"#
                        )
                    }
                    Some("initialize") => {
                        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"instructions":{lists}}}}}"#)
                    }
                    _ => {
                        *ran.lock().unwrap() += 1;
                        match body["params"].get("task") {
                            Some(_) => TASK.to_owned(),
                            None => OK.to_owned(),
                        }
                    }
                };
                let answer = Response::builder().header("content-type", "application/json");
                Ok::<_, Infallible>(answer.body(pieces([text])).unwrap())
            }
        });
        let answer = self.layer.layer(server).oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    /// The answer to a caller who asks for the list.
    pub(crate) async fn lists_to(&self, caller: &str) -> Value {
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        self.asks(caller, list).await
    }

    /// The names in the list that a caller sees.
    pub(crate) async fn sees(&self, caller: &str) -> Vec<String> {
        let answer = self.lists_to(caller).await;
        let tools = answer["result"]["tools"].as_array().unwrap().iter();
        tools
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The rule that refuses a call, if any does.
    pub(crate) async fn calls(&self, tool: &str) -> Option<String> {
        self.calls_with(tool, json!({})).await
    }

    pub(crate) async fn calls_with(&self, tool: &str, arguments: Value) -> Option<String> {
        let params = json!({"name": tool, "arguments": arguments});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        refused_by(&self.asks("alice", call).await)
    }
}

/// What a call comes to that asks for a task.
const TASK: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t","status":"working"}}}"#;

/// The rule that an answer names, or the words of its error.
pub(crate) fn refused_by(answer: &Value) -> Option<String> {
    match &answer["error"] {
        Value::Null => {}
        error => return Some(error["message"].as_str().unwrap().to_owned()),
    }
    let rule = &answer["result"]["_meta"]["io.github.mcp-policy/rule"];
    rule.as_str().map(str::to_owned)
}
