//! Who calls, found out in a way of one's own: here by keys that partners were given. What
//! a partner may do depends on what is known of it.
//!
//! ```text
//! cargo run --example own_caller
//! ```

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use mcp_policy::{Caller, IdentifyCaller, Policy, PolicyLayer, RequestBody};
use serde_json::{Map, Value};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Whoever is not known has no claims, so that the condition is false.
const POLICY: &str = r#"{ "version": "1", "default": "deny", "tools": {
    "list_orders": {},
    "cancel_order": { "require": [ {
        "conditions": [ { "path": "caller.claims.plan", "op": "eq", "value": "gold" } ],
        "on_deny": "Only partners with the plan gold may cancel orders." } ] }
} }"#;

/// The partners by their keys.
struct Partners(HashMap<String, Caller>);

impl IdentifyCaller for Partners {
    fn identify(&self, head: &Parts) -> Option<Caller> {
        let key = head.headers.get("x-partner-key")?.to_str().ok()?;
        self.0.get(key).cloned()
    }
}

fn partner(name: &str, plan: &str) -> Caller {
    let claims = Map::from_iter([("plan".to_owned(), Value::from(plan))]);
    Caller::new(name).with_claims(claims)
}

/// Calls by two partners and a stranger, as lines that say what became of each.
pub(crate) async fn run() -> Result<Vec<String>, Error> {
    let partners = Partners(HashMap::from([
        ("key-of-acme".to_owned(), partner("acme", "gold")),
        ("key-of-umbrella".to_owned(), partner("umbrella", "free")),
    ]));
    let server = ServiceBuilder::new()
        .layer(PolicyLayer::new(POLICY.parse::<Policy>()?).caller_with(partners))
        .service(service_fn(async |_: Request<RequestBody<Full<Bytes>>>| {
            let answer =
                r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}"#;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
        }));

    let mut lines = Vec::new();
    for (key, tool) in [
        ("key-of-acme", "cancel_order"),
        ("key-of-umbrella", "cancel_order"),
        ("key-of-umbrella", "list_orders"),
        ("guessed", "cancel_order"),
    ] {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#
        );
        let request = Request::post("/mcp")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-partner-key", key)
            .body(Full::from(call))?;
        let answer = server.clone().oneshot(request).await?;
        let text = String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?;
        lines.push(format!("{key} calls {tool}: {text}"));
    }
    Ok(lines)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    for line in run().await? {
        println!("{line}");
    }
    Ok(())
}
