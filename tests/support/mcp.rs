//! A server to guard, that writes down which tools were run.

use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service;

/// The tools of the server, all of which it would run.
pub(crate) const TOOLS: [&str; 3] = ["read", "secret", "write"];

/// The tools that were run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn push(&self, tool: &str) {
        self.0.lock().unwrap().push(tool.to_owned());
    }

    /// What was written since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A server for any body type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mcp {
    pub(crate) log: Log,
    /// Whether answers are event streams.
    pub(crate) events: bool,
}

impl Mcp {
    fn answer(&self, message: &Value) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let Some(id) = message.get("id") else {
            *response.status_mut() = StatusCode::ACCEPTED;
            return response;
        };
        let result = match message["method"].as_str().unwrap() {
            "tools/list" => {
                let tool = |name| json!({ "name": name, "inputSchema": { "type": "object" } });
                json!({ "tools": TOOLS.map(tool) })
            }
            "tools/call" => {
                let tool = message["params"]["name"].as_str().unwrap();
                self.log.push(tool);
                let text = format!("{tool} has run");
                json!({ "content": [{ "type": "text", "text": text }] })
            }
            other => panic!("{other} is not expected"),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
        let (media_type, body) = if self.events {
            let body = format!(": hello\n\nevent: message\nid: 1\ndata: {answer}\n\n");
            ("text/event-stream", body)
        } else {
            ("application/json", answer)
        };
        *response.body_mut() = Full::from(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
        response
    }
}

impl<B> Service<Request<B>> for Mcp
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: fmt::Debug,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.method() == http::Method::GET {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let response = Response::builder().status(status).body(Full::default());
            return Box::pin(ready(Ok(response.unwrap())));
        }
        let server = self.clone();
        Box::pin(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Ok(server.answer(&serde_json::from_slice(&body).unwrap()))
        })
    }
}
