//! A server that is asked over streamable HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE},
    request::Builder,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;
use tokio::time::timeout;

use super::{Answer, Era, LONGEST_ANSWER, WITHOUT_HANDSHAKE, Wrong, broken, request};
use crate::{
    connect::Connector,
    upstream::{Causes, Target},
};

/// How long the end of the session may take.
const GRACE: Duration = Duration::from_secs(2);

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");

pub(super) struct Connection {
    client: Client<Connector, Full<Bytes>>,
    target: Target,
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
    last_id: u64,
}

impl Connection {
    pub(super) fn new(target: Target) -> Result<Self, String> {
        let connector = Connector::new().map_err(|error| format!("cannot set up TLS: {error}"))?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            target,
            session: None,
            version: None,
            last_id: 0,
        })
    }

    /// Requests from now on are of this version.
    pub(super) fn agree_on(&mut self, version: &str) {
        self.version = HeaderValue::from_str(version).ok();
    }

    pub(super) async fn request(
        &mut self,
        method: &str,
        params: Value,
        era: Era,
    ) -> Result<Answer, Wrong> {
        self.last_id = self.last_id.saturating_add(1);
        let message = request(self.last_id, method, &params);
        let mut builder = self.builder(Method::POST);
        if era == Era::Modern {
            builder = builder
                .header(VERSION, WITHOUT_HANDSHAKE)
                .header(METHOD, method);
        }
        let response = self.send(builder, &message).await?;
        if let Some(session) = response.headers().get(SESSION_ID) {
            self.session = Some(session.clone());
        }
        self.answer(response).await
    }

    pub(super) async fn notify(&self, message: &Value) -> Result<(), Wrong> {
        let response = self.send(self.builder(Method::POST), message).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(broken(format!("it answers the handshake with {status}"))),
        }
    }

    /// Ends the session, if there is one.
    pub(super) async fn leave(self) {
        if self.session.is_some() {
            let request = self.builder(Method::DELETE).body(Full::default());
            if let Ok(request) = request {
                let _ = timeout(GRACE, self.client.request(request)).await;
            }
        }
    }

    fn builder(&self, method: Method) -> Builder {
        let mut builder = self.target.request(method);
        for (name, value) in [(SESSION_ID, &self.session), (VERSION, &self.version)] {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        builder
    }

    async fn send(&self, builder: Builder, message: &Value) -> Result<Response<Incoming>, Wrong> {
        let request = builder
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header(ACCEPT_ENCODING, "identity")
            .body(Full::from(message.to_string()))
            .map_err(|error| broken(format!("the request cannot be made: {error}")))?;
        let response = self.client.request(request).await;
        response.map_err(|error| broken(format!("no answer: {}", Causes(&error))))
    }

    /// The answer to the last request, out of what the server sends.
    async fn answer(&self, response: Response<Incoming>) -> Result<Answer, Wrong> {
        let status = response.status();
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.trim_start().starts_with("text/event-stream"));
        let mut body = response.into_body();
        let mut received = Received::new(is_stream);
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| broken(format!("it broke off: {}", Causes(&error))))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            for message in received.take(&data)? {
                match Answer::read(&message) {
                    Some(answer) if answer.answers(self.last_id) => return Ok(answer),
                    _ => {}
                }
            }
        }
        match Answer::read(&received.bytes) {
            Some(answer) if answer.answers(self.last_id) => Ok(answer),
            _ if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN => {
                let help = "give it a credential in the header `Authorization`";
                Err(broken(format!("it answers {status}: {help}")))
            }
            // A server that could not read the request does not know its id.
            Some(answer) if answer.error.as_ref().is_some_and(Value::is_object) => Ok(answer),
            _ if status.is_success() => Err(broken("its answer is not MCP")),
            _ => Err(broken(format!("it answers {status}, and that is not MCP"))),
        }
    }
}

/// What came of a body so far.
struct Received {
    is_stream: bool,
    /// How much that was in all.
    all: usize,
    /// The whole body, or the line of a stream that is not complete.
    bytes: Vec<u8>,
    /// Whether a line feed would be the second half of a line end.
    after_cr: bool,
    /// The data of the event that is not complete.
    data: Vec<u8>,
}

impl Received {
    fn new(is_stream: bool) -> Self {
        Self {
            is_stream,
            all: 0,
            bytes: Vec::new(),
            after_cr: false,
            data: Vec::new(),
        }
    }

    /// The data of the events that are complete with this.
    fn take(&mut self, more: &[u8]) -> Result<Vec<Vec<u8>>, Wrong> {
        self.all = self.all.saturating_add(more.len());
        if self.all > LONGEST_ANSWER {
            return Err(broken(format!(
                "its answer is larger than {} MiB",
                LONGEST_ANSWER >> 20
            )));
        }
        if !self.is_stream {
            self.bytes.extend_from_slice(more);
            return Ok(Vec::new());
        }
        let mut messages = Vec::new();
        for byte in more {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => messages.extend(self.line()),
                _ => self.bytes.push(*byte),
            }
        }
        Ok(messages)
    }

    /// The data of the event, if this line ends one.
    fn line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.bytes);
        if line.is_empty() {
            return Some(std::mem::take(&mut self.data));
        }
        let data = line.strip_prefix(b"data:")?;
        self.data.extend_from_slice(data);
        self.data.push(b'\n');
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_apart_however_they_are_cut() {
        for end in ["\n", "\r\n", "\r"] {
            let lines = [
                ": hello",
                "event: message",
                "data: {\"a\":",
                "data: 1}",
                "",
                "data:2",
                "",
                "",
            ];
            let text = lines.join(end);
            for size in 1..=text.len() {
                let mut received = Received::new(true);
                let found: Vec<Value> = text
                    .as_bytes()
                    .chunks(size)
                    .flat_map(|chunk| received.take(chunk).ok().unwrap_or_default())
                    .filter_map(|data| serde_json::from_slice(&data).ok())
                    .collect();
                assert_eq!(found, [json!({ "a": 1 }), json!(2)], "{end:?} {size}");
            }
        }
    }

    #[test]
    fn an_endless_answer_is_given_up() {
        for is_stream in [true, false] {
            let mut received = Received::new(is_stream);
            let piece = vec![b' '; 1 << 20];
            let taken = (0..64)
                .take_while(|_| received.take(&piece).is_ok())
                .count();
            assert_eq!(taken, 32);
        }
    }
}
