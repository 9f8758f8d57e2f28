//! Clients are told when another policy lets them see other lists.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{Method, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use mcp_policy::{LivePolicy, Policy, PolicyLayer, RequestBody, ResponseBody};
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::server::{Body, META, call, pieces, post};

const TOLD: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#;
const TELLS: &str = r#"{"tools":{"listChanged":true}}"#;
const ALL_TELL: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true}}"#;
const DONE: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";

/// A policy that hides one tool.
fn hides(tool: &str) -> Policy {
    let text = format!(r#"{{"version":"1","default":"allow","hide":["{tool}"]}}"#);
    text.parse().unwrap()
}

/// The server's side of a stream.
type Outlet = UnboundedSender<Result<Frame<Bytes>, Infallible>>;

fn send(outlet: &Outlet, text: &str) {
    let frame = Frame::data(Bytes::copy_from_slice(text.as_bytes()));
    outlet.unbounded_send(Ok(frame)).unwrap();
}

/// A server that describes itself, opens a stream for whatever else it is asked,
/// and is behind a policy that can be replaced.
struct Server {
    live: LivePolicy,
    layer: PolicyLayer,
    /// As they are declared.
    capabilities: &'static str,
    /// Whether it describes itself on an event stream.
    events: bool,
    /// What it answers with.
    status: u16,
}

/// The client's side of a stream.
struct Stream {
    body: Pin<Box<ResponseBody<Body>>>,
    woken: Arc<Woken>,
    outlet: Outlet,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Server {
    fn declaring(capabilities: &'static str) -> Self {
        let live = LivePolicy::new(hides("a"));
        Self {
            layer: PolicyLayer::from_source(live.clone()),
            live,
            capabilities,
            events: false,
            status: 200,
        }
    }

    async fn ask(&self, request: Request<Body>) -> (Response<ResponseBody<Body>>, Outlet) {
        let (outlet, events) = unbounded();
        let events = Mutex::new(Some(events));
        let server = service_fn(|request: Request<RequestBody<Body>>| {
            let events = events.lock().unwrap().take().unwrap();
            let (capabilities, described_on_stream) = (self.capabilities, self.events);
            let status = self.status;
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let message: Value = serde_json::from_slice(&body).unwrap_or_default();
                let describes = matches!(
                    message["method"].as_str(),
                    Some("initialize" | "server/discover")
                );
                let answer = Response::builder()
                    .status(status)
                    .header("mcp-session-id", "S-1");
                let id = &message["id"];
                let text = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"capabilities":{capabilities}}}}}"#
                );
                let (media_type, body) = match (describes, described_on_stream) {
                    (true, false) => ("application/json", pieces([text])),
                    (true, true) => ("text/event-stream", pieces([format!("data: {text}\n\n")])),
                    (false, _) => {
                        let events = Mutex::new(events);
                        let events = futures::stream::poll_fn(move |context| {
                            events.lock().unwrap().poll_next_unpin(context)
                        });
                        ("text/event-stream", BodyExt::boxed(StreamBody::new(events)))
                    }
                };
                let answer = answer.header("content-type", media_type);
                Ok::<_, Infallible>(answer.body(body).unwrap())
            }
        });
        let answer = self.layer.layer(server).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), self.status);
        (answer, outlet)
    }

    /// A session begins, and its name is `S-1`.
    async fn initialized(self) -> Self {
        let (answer, _) = self.ask(post(INITIALIZE)).await;
        answer.into_body().collect().await.unwrap();
        self
    }

    async fn open(&self, request: Request<Body>) -> Stream {
        let (answer, outlet) = self.ask(request).await;
        Stream {
            body: Box::pin(answer.into_body()),
            woken: Arc::default(),
            outlet,
        }
    }

    /// The stream that a client opens to be told of things.
    async fn get(&self) -> Stream {
        self.open(in_session(get())).await
    }

    /// The stream of a call.
    async fn call(&self) -> Stream {
        self.open(in_session(post(call("c")))).await
    }

    async fn listen(&self, filter: &str) -> Stream {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"é\u0031","method":"subscriptions/listen","params":{{"notifications":{filter},{META}}}}}"#
        );
        let mut request = modern(body, "subscriptions/listen");
        request
            .headers_mut()
            .insert("mcp-session-id", "S-1".parse().unwrap());
        self.open(request).await
    }
}

fn modern(body: String, method: &str) -> Request<Body> {
    let mut request = post(body);
    let headers = request.headers_mut();
    headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    headers.insert("mcp-method", method.parse().unwrap());
    request
}

fn get() -> Request<Body> {
    let mut request = post("");
    *request.method_mut() = Method::GET;
    request
}

fn in_session(mut request: Request<Body>) -> Request<Body> {
    request
        .headers_mut()
        .insert("mcp-session-id", "S-1".parse().unwrap());
    request
}

impl Stream {
    /// Everything that is there now.
    fn reads(&mut self) -> String {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        let mut text = Vec::new();
        while let Poll::Ready(Some(frame)) = self.body.as_mut().poll_frame(&mut context) {
            text.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    fn times_woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_session_is_told_on_one_stream_and_idle_ones_are_woken() {
    for events in [false, true] {
        let server = Server::declaring(TELLS);
        let server = Server { events, ..server }.initialized().await;
        let mut call = server.call().await;
        let mut old = server.get().await;
        let mut new = server.get().await;
        let read = |streams: [&mut Stream; 3]| streams.map(Stream::reads);
        assert_eq!(read([&mut call, &mut old, &mut new]), ["", "", ""]);

        assert!(server.live.replace(hides("b")));
        assert_eq!(new.times_woken(), 1);
        assert_eq!(read([&mut call, &mut old, &mut new]), ["", "", TOLD]);
        assert_eq!(read([&mut call, &mut old, &mut new]), ["", "", ""]);

        // Whoever comes next has to tell what a stream did not that is gone.
        server.live.replace(hides("c"));
        assert_eq!(old.reads(), "");
        let woken = old.times_woken();
        drop(new);
        assert_eq!(old.times_woken(), woken + 1);
        assert_eq!([call.reads(), old.reads()], ["", TOLD]);
        server.live.replace(hides("d"));
        drop(old);
        assert_eq!(call.reads(), TOLD);

        // Behind its answer nobody reads any more.
        send(&call.outlet, DONE);
        assert_eq!(call.reads(), DONE);
        server.live.replace(hides("e"));
        assert_eq!(call.reads(), "");
        // What was missed is told when there is a stream again.
        assert_eq!(server.get().await.reads(), TOLD);
    }
}

#[tokio::test]
async fn nothing_is_told_that_the_server_did_not_declare() {
    for capabilities in [
        "{}",
        r#"{"tools":{}}"#,
        r#"{"tools":{"listChanged":false},"prompts":{"listChanged":true}}"#,
    ] {
        let server = Server::declaring(capabilities).initialized().await;
        let mut stream = server.get().await;
        assert_eq!(stream.reads(), "");
        server.live.replace(hides("b"));
        assert_eq!(stream.reads(), "", "{capabilities}");
    }
    // Without `initialize` nobody knows.
    let server = Server::declaring(TELLS);
    let mut stream = server.get().await;
    assert_eq!(stream.reads(), "");
    server.live.replace(hides("b"));
    assert_eq!(stream.reads(), "");
}

/// What a tool answers may look like it.
#[tokio::test]
async fn only_who_describes_a_server_declares_anything() {
    let server = Server::declaring(TELLS).initialized().await;
    let mut call = server.call().await;
    let answer = DONE.replace("{}}", r#"{"capabilities":{}}}"#);
    send(&call.outlet, &answer);
    assert_eq!(call.reads(), answer);
    let mut stream = server.get().await;
    assert_eq!(stream.reads(), "");
    server.live.replace(hides("b"));
    assert_eq!(stream.reads(), TOLD);
}

#[tokio::test]
async fn only_what_looks_different_is_told() {
    let server = Server::declaring(ALL_TELL).initialized().await;
    let mut stream = server.get().await;
    assert_eq!(stream.reads(), "");
    for (policy, told) in [
        (
            r#"{"version":"1","default":"allow","hide":["a"],"name":"n"}"#,
            &[][..],
        ),
        (
            r#"{"version":"1","default":"deny","prompts":{"p":{"action":"hide"}}}"#,
            &["tools", "prompts"],
        ),
        (
            r#"{"version":"1","default":"deny","prompts":{"p":{"action":"hide"}},"resources":{"a://r":{"action":"hide"}}}"#,
            &["resources"],
        ),
        (
            r#"{"version":"1","default":"hide"}"#,
            &["tools", "prompts", "resources"],
        ),
    ] {
        server.live.replace(policy.parse().unwrap());
        let expected: Vec<_> = told
            .iter()
            .map(|kind| TOLD.replace("tools", kind))
            .collect();
        assert_eq!(stream.reads(), expected.concat(), "{policy}");
    }
    // A client that slept through two changes may have seen either.
    server.live.replace(hides("a"));
    server
        .live
        .replace(r#"{"version":"1","default":"hide"}"#.parse().unwrap());
    assert_eq!(stream.reads().matches("event: message").count(), 3);
}

#[tokio::test]
async fn an_event_that_has_half_arrived_stays_whole() {
    for (begun, rest) in [
        (
            "data: {\"jsonrpc\":\"2.0\",",
            "\"method\":\"notifications/x\"}\n\n",
        ),
        ("id: 7\ndata: {}\n", "\n"),
        (": ke", "ep-alive\n\n"),
        ("data: {}\r\n\r", "\ndata: {}\n\n"),
        ("", "\u{feff}data: {}\n\n"),
    ] {
        let server = Server::declaring(TELLS).initialized().await;
        let mut stream = server.get().await;
        send(&stream.outlet, begun);
        let mut passed = stream.reads();
        server.live.replace(hides("b"));
        assert_eq!(stream.reads(), TOLD, "behind {begun:?}");
        send(&stream.outlet, rest);
        passed += &stream.reads();
        // A byte order mark is none in the middle of a stream, and an odd line.
        let expected = format!("{begun}{rest}").replace("\u{feff}data: {}\n", "");
        assert_eq!(passed, expected);
    }
}

#[tokio::test]
async fn a_stream_of_2024_11_05_is_its_own_session() {
    let server = Server::declaring("{}");
    let mut stream = server.open(get()).await;
    assert_eq!(stream.reads(), "");
    server.live.replace(hides("b"));
    assert_eq!(stream.reads(), "", "nothing is declared yet");
    let answer = format!(
        "data: {{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{{\"capabilities\":{TELLS}}}}}\n\n"
    );
    send(&stream.outlet, &answer);
    assert_eq!(stream.reads(), answer);
    server.live.replace(hides("c"));
    assert_eq!(stream.reads(), TOLD);
    // Lists that come on it are those of the policy that holds now.
    send(
        &stream.outlet,
        "data: {\"id\":1,\"result\":{\"tools\":[{\"name\":\"a\"},{\"name\":\"c\"}]}}\n\n",
    );
    assert_eq!(
        stream.reads(),
        "data: {\"id\":1,\"result\":{\"tools\":[{\"name\":\"a\"}]}}\n\n"
    );
}

/// Its client does not look for anything but an answer there, or for nothing at all.
#[tokio::test]
async fn a_stream_that_belongs_to_no_session_tells_nothing() {
    let server = Server::declaring(TELLS).initialized().await;
    let listed = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{META}}}}}"#);
    let mut modern = server.open(in_session(modern(listed, "tools/list"))).await;
    let mut alone = server.open(post(call("c"))).await;
    let mut end = in_session(post(""));
    *end.method_mut() = Method::DELETE;
    let refusing = Server {
        live: server.live.clone(),
        layer: server.layer.clone(),
        status: 405,
        ..server
    };
    let mut ended = refusing.open(end).await;
    let mut read = || [&mut modern, &mut alone, &mut ended].map(Stream::reads);
    assert_eq!(read(), ["", "", ""]);
    refusing.live.replace(hides("b"));
    assert_eq!(read(), ["", "", ""]);
    // It looks like the one that declares what a session of 2024-11-05 is told.
    let answer = format!("data: {{\"id\":1,\"result\":{{\"capabilities\":{TELLS}}}}}\n\n");
    send(&alone.outlet, &answer);
    assert_eq!(alone.reads(), answer);
    refusing.live.replace(hides("c"));
    assert_eq!(
        [&mut modern, &mut alone, &mut ended].map(Stream::reads),
        ["", "", ""]
    );
    // The session is there all the same.
    let server = Server {
        status: 200,
        ..refusing
    };
    assert_eq!(server.get().await.reads(), TOLD);
}

fn acknowledges(filter: &str) -> String {
    format!(
        "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":\"é1\"}},\"notifications\":{filter}}}}}\n\n"
    )
}

const TOOLS_ONLY: &str = r#"{"toolsListChanged":true}"#;

#[tokio::test]
async fn a_subscription_is_told_once_it_is_acknowledged() {
    let server = Server::declaring(TELLS);
    let mut stream = server.listen(TOOLS_ONLY).await;
    assert_eq!(stream.reads(), "");
    server.live.replace(hides("b"));
    assert_eq!(stream.reads(), "", "not before the acknowledgement");
    let acknowledged = acknowledges(TOOLS_ONLY);
    send(&stream.outlet, &acknowledged);
    let told = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\",\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":\"é\\u0031\"}}}\n\n";
    assert_eq!(stream.reads(), format!("{acknowledged}{told}"));
    server.live.replace(hides("c"));
    assert_eq!(stream.times_woken(), 3);
    assert_eq!(stream.reads(), told);
    // Each subscription is told.
    let mut other = server.listen(TOOLS_ONLY).await;
    send(&other.outlet, &acknowledged);
    assert_eq!(other.reads(), acknowledged);
    server.live.replace(hides("d"));
    assert_eq!([stream.reads(), other.reads()], [told, told]);
    // Not behind its end.
    send(&other.outlet, DONE);
    assert_eq!(other.reads(), DONE);
    server.live.replace(hides("e"));
    assert_eq!([stream.reads(), other.reads()], [told, ""]);
}

#[tokio::test]
async fn a_subscription_is_told_only_what_it_asked_for_and_the_server_agreed_to() {
    for (requested, agreed) in [
        (r#"{"promptsListChanged":true}"#, TOOLS_ONLY),
        (r#"{"toolsListChanged":false}"#, TOOLS_ONLY),
        ("{}", TOOLS_ONLY),
        (TOOLS_ONLY, "{}"),
        (TOOLS_ONLY, "null"),
    ] {
        let server = Server::declaring(TELLS);
        let mut stream = server.listen(requested).await;
        send(&stream.outlet, &acknowledges(agreed));
        assert_eq!(stream.reads(), acknowledges(agreed));
        server.live.replace(hides("b"));
        assert_eq!(stream.reads(), "", "{requested}, {agreed}");
    }
    // What `server/discover` says counts as well.
    for (capabilities, agreed, is_told) in [
        ("{}", TOOLS_ONLY, false),
        (TELLS, TOOLS_ONLY, true),
        (TELLS, "null", true),
    ] {
        let server = Server::declaring(capabilities);
        let discover =
            format!(r#"{{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{{{META}}}}}"#);
        let (answer, _) = server.ask(modern(discover, "server/discover")).await;
        answer.into_body().collect().await.unwrap();
        let mut stream = server.listen(TOOLS_ONLY).await;
        send(&stream.outlet, &acknowledges(agreed));
        stream.reads();
        server.live.replace(hides("b"));
        assert_eq!(
            !stream.reads().is_empty(),
            is_told,
            "{capabilities}, {agreed}"
        );
    }
}

#[tokio::test]
async fn a_session_that_was_ended_is_forgotten() {
    let server = Server::declaring(TELLS).initialized().await;
    let mut end = in_session(post(""));
    *end.method_mut() = Method::DELETE;
    drop(server.ask(end).await);
    let mut stream = server.get().await;
    assert_eq!(stream.reads(), "");
    server.live.replace(hides("b"));
    assert_eq!(stream.reads(), "");
}

#[tokio::test]
async fn streams_that_are_dropped_leave_nothing_behind() {
    let server = Server::declaring(TELLS).initialized().await;
    for _ in 0..3 {
        let streams = [
            server.get().await,
            server.call().await,
            server.listen(TOOLS_ONLY).await,
            server.open(get()).await,
        ];
        let mut wakers = Vec::new();
        for mut stream in streams {
            stream.reads();
            wakers.push(Arc::clone(&stream.woken));
            assert!(Arc::strong_count(&stream.woken) > 2, "it waits");
        }
        for woken in wakers {
            assert_eq!(Arc::strong_count(&woken), 1);
        }
        server.live.replace(hides("b"));
        server.live.replace(hides("a"));
    }
    // And no seat in the session.
    assert_eq!(server.get().await.reads(), TOLD.to_owned());
}
