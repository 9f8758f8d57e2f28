//! The server behind the gateway: it executes whatever comes out when a request is
//! read in any way in which some server reads it, and writes down what that was.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tower::service_fn;

use super::{
    careless::{Outcome, execute_all},
    cases::{LONGEST_BODY, MODERN},
};
use crate::{lock::lock, server};

/// The argument by which our own calls are known.
pub(super) const NUMBER: &str = "number";

/// What is written down at most for one case.
const MOST: usize = 1000;

/// A server that runs until it is dropped.
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    executed: Vec<String>,
    /// The number of the last call of ours.
    called: Option<u64>,
}

impl Recorder {
    pub(super) fn start(listener: TcpListener) -> Result<Self, String> {
        let address = listener
            .local_addr()
            .map_err(|error| format!("cannot listen: {error}"))?;
        let seen = Arc::<Mutex<Seen>>::default();
        let writes = Arc::clone(&seen);
        let service = service_fn(move |request| answer(Arc::clone(&writes), request));
        let task = tokio::spawn(async move {
            server::serve(listener, service, async || std::future::pending().await).await;
        });
        Ok(Self {
            address,
            seen,
            task,
        })
    }

    /// What was executed since the last time, without our own calls.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().executed)
    }

    /// Whether our call with this number was executed.
    pub(super) fn was_called(&self, number: u64) -> bool {
        self.lock().called == Some(number)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    seen: Arc<Mutex<Seen>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut headers = head.headers;
    let Ok(body) = Limited::new(body, LONGEST_BODY).collect().await else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    // Some servers merge trailers into the headers.
    for (name, value) in body.trailers().into_iter().flatten() {
        headers.append(name, value.clone());
    }
    let body = body.to_bytes();
    let Outcome { executed, id } = execute_all(&headers, &body);
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let nothing = executed.is_empty();
    {
        let mut seen = lock(&seen);
        match number_of(&message) {
            // Somebody who smuggles may have put something else into a call of ours.
            Some(number) if executed.iter().eq(["safe"]) => seen.called = Some(number),
            _ => {
                let left = MOST.saturating_sub(seen.executed.len());
                seen.executed.extend(executed.into_iter().take(left));
            }
        }
    }
    Ok(if nothing && head.method != Method::POST {
        empty(StatusCode::METHOD_NOT_ALLOWED)
    } else if let Some(id) = id {
        reply(&id, &body_of(&message, &headers, nothing))
    } else if nothing {
        empty(StatusCode::ACCEPTED)
    } else {
        reply("null", &body_of(&message, &headers, nothing))
    })
}

/// The number in a call of ours.
fn number_of(message: &Value) -> Option<u64> {
    message.pointer("/params/arguments")?.get(NUMBER)?.as_u64()
}

/// The member of the response that is there besides the id, and its value.
fn body_of(message: &Value, headers: &HeaderMap, nothing: bool) -> String {
    let method = message.get("method").and_then(Value::as_str);
    let params = message.get("params").unwrap_or(&Value::Null);
    let Some(mut result) = method.and_then(|method| result_of(method, params)) else {
        return if nothing {
            r#""error":{"code":-32601,"message":"Method not found"}"#.to_owned()
        } else {
            format!(r#""result":{}"#, said())
        };
    };
    let version = headers.get("mcp-protocol-version");
    if version.is_some_and(|version| version.as_bytes() == MODERN.as_bytes())
        && let Some(members) = result.as_object_mut()
    {
        members.insert("resultType".to_owned(), "complete".into());
        members.insert("ttlMs".to_owned(), 0.into());
        members.insert("cacheScope".to_owned(), "private".into());
    }
    format!(r#""result":{result}"#)
}

/// The versions of the protocol with a handshake, the newest first.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// What an ordinary server answers, so that gateways that look at it are content.
fn result_of(method: &str, params: &Value) -> Option<Value> {
    let capabilities = || json!({ "tools": {}, "prompts": {}, "resources": {}, "completions": {} });
    let server =
        || json!({ "name": "mcp-policy-proxy attack", "version": env!("CARGO_PKG_VERSION") });
    Some(match method {
        "initialize" => {
            let asked = params.get("protocolVersion").and_then(Value::as_str);
            let known = VERSIONS.into_iter().find(|version| asked == Some(version));
            let [newest, ..] = VERSIONS;
            json!({
                "protocolVersion": known.unwrap_or(newest),
                "capabilities": capabilities(),
                "serverInfo": server(),
            })
        }
        "server/discover" => json!({
            "supportedVersions": [MODERN],
            "capabilities": capabilities(),
            "serverInfo": server(),
        }),
        "tools/list" => {
            let tool = |name: &str| {
                json!({
                    "name": name,
                    "description": format!("Does {name}"),
                    "inputSchema": { "type": "object" },
                })
            };
            let tools = ["safe", "danger", "hidden", "call_tool"].map(tool);
            json!({ "tools": tools })
        }
        "prompts/list" => {
            let prompt =
                |name: &str| json!({ "name": name, "description": format!("Says {name}") });
            let prompts = ["greet", "secret"].map(prompt);
            json!({ "prompts": prompts })
        }
        "resources/list" => {
            let file = |path: &str| json!({ "uri": format!("file:///{path}"), "name": path });
            let files = ["public/a", "etc/passwd"].map(file);
            json!({ "resources": files })
        }
        "resources/templates/list" => json!({ "resourceTemplates": [] }),
        "tools/call" => said(),
        "prompts/get" => json!({ "messages": [] }),
        "resources/read" => {
            let uri = params
                .get("uri")
                .and_then(Value::as_str)
                .unwrap_or_default();
            json!({ "contents": [{ "uri": uri, "text": "text" }] })
        }
        "completion/complete" => json!({ "completion": { "values": [] } }),
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => json!({}),
        _ => return None,
    })
}

/// What a tool says.
fn said() -> Value {
    json!({ "content": [{ "type": "text", "text": "done" }] })
}

fn reply(id: &str, body: &str) -> Response<Full<Bytes>> {
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},{body}}}"#);
    let mut response = Response::new(Full::from(text));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
