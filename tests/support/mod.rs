//! What the tests of the tower side have in common: a policy, a server to
//! guard, and a way to call it.

// Every test binary uses another part of it.
#![allow(dead_code)]

pub(crate) mod body;
pub(crate) mod clock;
pub(crate) mod mcp;
pub(crate) mod net;

use std::time::Duration;

use mcp_policy::PolicyLayer;
use serde_json::{Value, json};

/// `read` may be called, `write` is refused, `secret` is not to be seen.
pub(crate) const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "tools": {
        "read": {},
        "write": { "action": "deny", "reason": "Writing is for people." },
        "secret": { "action": "hide" }
    }
}"#;

pub(crate) fn guard() -> PolicyLayer {
    PolicyLayer::new(POLICY.parse().unwrap())
}

pub(crate) fn call(tool: &str) -> Value {
    let params = json!({ "name": tool, "arguments": {} });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params })
}

pub(crate) fn list() -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" })
}

/// Nothing that is waited for in a test takes this long.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(output) => output,
        Err(_) => panic!("took too long"),
    }
}
