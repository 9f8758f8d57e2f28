//! A server behind the layer that records every byte that reaches it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use mcp_policy::{PolicyLayer, RequestBody};
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// Denies by default, denies `danger` with a reason, hides `secret`.
pub(crate) const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "hide": ["secret", "hidden_*"],
    "tools": {
        "safe": {},
        "list_*": {},
        "danger": { "action": "deny", "reason": "It is dangerous." }
    }
}"#;

pub(crate) const ALLOW_ALL: &str =
    r#"{ "version": "1", "default": "allow", "methods": { "*": "allow" } }"#;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A body that comes in the given pieces.
pub(crate) fn pieces<I: AsRef<[u8]>>(pieces: impl IntoIterator<Item = I>) -> Body {
    let frames: Vec<_> = pieces
        .into_iter()
        .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece.as_ref()))))
        .collect();
    BodyExt::boxed(StreamBody::new(stream::iter(frames)))
}

/// What reached the server.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What the client got.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The text with the same decision id in it as in all others.
    pub(crate) fn without_decision_id(&self) -> String {
        let mut text = self.text().to_owned();
        let start = text.find("decisionId\":\"").map(|at| at + 13);
        if let Some((start, rest)) = start.and_then(|start| Some((start, text.get(start..)?))) {
            let end = start + rest.find('"').unwrap();
            text.replace_range(start..end, "ID");
        }
        text
    }

    /// The JSON-RPC error code.
    pub(crate) fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_default()
    }

    /// The text of a tool result that is an error.
    pub(crate) fn tool_error(&self) -> String {
        let json = self.json();
        assert_eq!(json["result"]["isError"], true, "{json}");
        json["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

/// One exchange through a layer with the given policy.
pub(crate) struct Exchange {
    pub(crate) layer: PolicyLayer,
    pub(crate) answer: Response<Body>,
}

impl Exchange {
    /// A server that answers every request with the JSON `{}`-like success of
    /// a call.
    pub(crate) fn new(policy: &str) -> Self {
        let answer = Response::builder()
            .header("content-type", "application/json")
            .body(pieces([OK]))
            .unwrap();
        Self::answering(policy, answer)
    }

    /// A server that answers the next request like this.
    pub(crate) fn answering(policy: &str, answer: Response<Body>) -> Self {
        Self {
            layer: PolicyLayer::new(policy.parse().unwrap()),
            answer,
        }
    }

    /// Sends the request, and gives what reached the server, if anything did.
    pub(crate) async fn send(self, request: Request<Body>) -> (Option<Received>, Answer) {
        let received = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&received);
        let answer = Arc::new(Mutex::new(Some(self.answer)));
        let server = service_fn(move |request: Request<RequestBody<Body>>| {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                *seen.lock().unwrap() = Some(Received {
                    method: head.method,
                    headers: head.headers,
                    body,
                });
                Ok::<_, Infallible>(answer.lock().unwrap().take().unwrap())
            }
        });
        let response = self.layer.layer(server).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        assert!(body.trailers().is_none());
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        };
        let received = received.lock().unwrap().take();
        (received, answer)
    }
}

/// What the server answers where nothing else is said.
pub(crate) const OK: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;

/// A POST of this body.
pub(crate) fn post(body: impl AsRef<[u8]>) -> Request<Body> {
    Request::post("/mcp")
        .header("content-type", "application/json")
        .body(pieces([body]))
        .unwrap()
}

/// A call of a tool, as clients before 2026-07-28 send it.
pub(crate) fn call(name: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{{}}}}}}"#
    )
}

/// The `_meta` that every request of 2026-07-28 has.
pub(crate) const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// A call of a tool in 2026-07-28, with its headers.
pub(crate) fn modern_call(name: &str) -> Request<Body> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}",{META}}}}}"#
    );
    let mut request = post(body);
    for (header, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", name),
    ] {
        request.headers_mut().insert(header, value.parse().unwrap());
    }
    request
}

/// Sends a legacy request with this body through [`POLICY`].
pub(crate) async fn send(body: impl AsRef<[u8]>) -> (Option<Received>, Answer) {
    Exchange::new(POLICY).send(post(body)).await
}
