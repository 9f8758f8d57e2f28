//! What the benchmarks measure with: messages, lists, policies and a server.

// Every benchmark uses another part of it.
#![allow(dead_code)]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::executor::block_on;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use mcp_policy::{Policy, PolicyLayer, PolicyService};
use tower::{Layer as _, Service, ServiceExt as _};

/// A call of the last of a hundred tools, with so many bytes before the arguments end.
fn call(length: usize, fill: impl FnOnce(&mut String, usize)) -> Vec<u8> {
    let mut text = String::with_capacity(length + 256);
    text.push_str(
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"tool_99","arguments":{"path":"/srv/a.txt","amount":5,"#,
    );
    fill(&mut text, length.saturating_sub(3));
    text.push_str("}}}");
    text.into_bytes()
}

/// A call that carries one long text, as a program is written: one byte in twenty is
/// escaped.
pub(crate) fn text_call(length: usize) -> Vec<u8> {
    call(length, |text, end| {
        text.push_str(r#""content":""#);
        let line = r#"    let total = amounts.iter().sum();\n    print(\"total: {total}\");\n    return total * 2;\n\n"#;
        // Whole lines, so that no escape sequence is cut.
        while text.len() + line.len() < end {
            text.push_str(line);
        }
        while text.len() + 1 < end {
            text.push('x');
        }
        text.push('"');
    })
}

/// The same text in a language that is not English.
pub(crate) fn foreign_text_call(length: usize) -> Vec<u8> {
    call(length, |text, end| {
        text.push_str(r#""content":""#);
        let line = r"Die Überweisung wurde geprüft – größtenteils fällig für Москва и 東京都。\n";
        while text.len() + line.len() < end {
            text.push_str(line);
        }
        text.push('"');
    })
}

/// A call that carries many small objects.
pub(crate) fn structured_call(length: usize) -> Vec<u8> {
    call(length, |text, end| {
        text.push_str(r#""rows":["#);
        let mut number = 0_u32;
        while text.len() + 128 < end {
            if number > 0 {
                text.push(',');
            }
            let _ = write!(
                text,
                r#"{{"id":{number},"name":"row {number}","done":{},"size":{}.25,"tags":["a","b"],"owner":null}}"#,
                number % 2 == 0,
                number * 3,
            );
            number += 1;
        }
        text.push(']');
    })
}

/// An answer with so many tools. Every tenth is called `secret_…`.
pub(crate) fn list(count: usize) -> Vec<u8> {
    let mut text = String::from(r#"{"jsonrpc":"2.0","id":7,"result":{"tools":["#);
    for number in 0..count {
        if number > 0 {
            text.push(',');
        }
        let family = if number % 10 == 5 { "secret" } else { "tool" };
        let _ = write!(
            text,
            r#"{{"name":"{family}_{number}","title":"Tool number {number}","description":"Reads one record of the table and gives it back as text.\nUse it when the user asks for \"details\" of a record.","inputSchema":{{"type":"object","properties":{{"record":{{"type":"string","description":"The record"}},"limit":{{"type":"integer","minimum":1,"maximum":100}},"fields":{{"type":"array","items":{{"type":"string"}}}}}},"required":["record"],"additionalProperties":false}},"annotations":{{"readOnlyHint":true}}}}"#,
        );
    }
    text.push_str("]}}");
    text.into_bytes()
}

/// The same as the one event of a stream.
pub(crate) fn events(count: usize) -> Vec<u8> {
    [b"event: message\ndata: ", &*list(count), b"\n\n"].concat()
}

/// So many tools by name, of which each may be called with an amount up to 500, and
/// three limits on all of them together.
pub(crate) fn policy(tools: usize) -> Policy {
    let mut text = String::from(
        r#"{"version":"1","default":"deny","hide":["secret_*"],
            "all_tools":{"limits":[
                {"counter":"a","window":"minute","max":1000000000,"scope":"caller"},
                {"counter":"b","window":"hour","max":1000000000,"scope":"caller"},
                {"counter":"c","window":"day","max":1000000000,"scope":"server"}]},
            "tools":{"#,
    );
    for number in 0..tools {
        if number > 0 {
            text.push(',');
        }
        let _ = write!(
            text,
            r#""tool_{number}":{{"require":[{{"conditions":[{{"path":"args.amount","op":"lte","value":500}}]}}]}}"#,
        );
    }
    text.push_str("}}");
    text.parse().unwrap()
}

/// A server that reads the whole request and always gives this answer.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    answer: Bytes,
    media_type: &'static str,
}

impl Server {
    pub(crate) fn answering(answer: impl Into<Bytes>, media_type: &'static str) -> Self {
        let answer = answer.into();
        Self { answer, media_type }
    }

    /// One that answers calls.
    pub(crate) fn of_calls() -> Self {
        let answer = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"Done."}],"isError":false}}"#;
        Self::answering(&answer[..], JSON)
    }
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const EVENTS: &str = "text/event-stream";

impl<B: Body<Data = Bytes> + Unpin> Service<Request<B>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        std::hint::black_box(read(request.into_body()));
        let answer = Response::builder().header("content-type", self.media_type);
        let answer = answer.body(Full::new(self.answer.clone())).unwrap();
        ready(Ok(answer))
    }
}

/// This server behind a layer with this policy.
pub(crate) fn guarded(policy: Policy, server: Server) -> PolicyService<Server> {
    PolicyLayer::new(policy).layer(server)
}

pub(crate) fn request(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
        .body(Full::new(body.into()))
        .unwrap()
}

/// How many bytes a body has that is there as a whole.
fn read<B: Body<Data = Bytes> + Unpin>(mut body: B) -> usize {
    let mut length = 0;
    while let Some(Some(Ok(frame))) = body.frame().now_or_never() {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    length
}

/// Answers one request, and gives the length of the answer.
pub(crate) fn serve<S, R>(service: S, request: Request<Full<Bytes>>) -> usize
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: std::fmt::Debug,
    R: Body<Data = Bytes> + Unpin,
{
    let answer = block_on(service.oneshot(request)).unwrap();
    assert_eq!(answer.status(), 200);
    read(answer.into_body())
}
