//! The layer as a tower service, poll by poll: readiness, the service that is
//! called, and what it is called with.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests"
)]

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use mcp_policy::{HeldBody, HeldStreamsService, Permit, PolicyService, RequestBody, ResponseBody};
use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok};
use tower::{Layer, Service};
use tower_test::mock::{self, Handle, Mock};

use self::support::body::{Script, Step};
use self::support::net::{Answer, post, post_message};
use self::support::{call, guard};

type InnerRequest<B> = Request<RequestBody<B>>;
type InnerResponse = Response<Full<Bytes>>;
type Held = HeldStreamsService<Mock<InnerRequest<Full<Bytes>>, InnerResponse>>;
type Spawned<B> = mock::Spawn<PolicyService<Mock<InnerRequest<B>, InnerResponse>>>;

fn guarded<B>() -> (Spawned<B>, Handle<InnerRequest<B>, InnerResponse>) {
    mock::spawn_layer(guard())
}

fn passing() -> Request<Full<Bytes>> {
    post_message("http://localhost/mcp", &call("read"))
}

fn refused() -> Request<Full<Bytes>> {
    post_message("http://localhost/mcp", &call("write"))
}

fn answer() -> InnerResponse {
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#))
        .unwrap()
}

/// The next call of the inner service; there has to be one.
macro_rules! next_call {
    ($handle:expr) => {
        assert_ready!($handle.poll_request()).expect("the inner service is still there")
    };
}

#[test]
fn readiness_is_that_of_the_inner_service() {
    let (mut service, mut handle) = guarded::<Full<Bytes>>();
    handle.allow(0);
    assert_pending!(service.poll_ready::<Request<Full<Bytes>>>());
    assert_pending!(service.poll_ready::<Request<Full<Bytes>>>());
    assert!(!service.is_woken());

    handle.allow(1);
    assert!(service.is_woken(), "the waker was handed on");
    assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());
    let mut first = spawn(service.call(passing()));
    assert_pending!(first.poll());
    let (_, first_answer) = next_call!(handle);

    // The one request that was allowed has been made.
    assert_pending!(service.poll_ready::<Request<Full<Bytes>>>());
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());

    first_answer.send_response(answer());
    assert!(first.is_woken());
    let response = assert_ready_ok!(first.poll());
    assert_eq!(response.status(), StatusCode::OK);
}

#[test]
fn readiness_with_held_streams_is_that_of_the_inner_service() {
    let layer = guard().with_held_streams();
    let (mut service, mut handle): (mock::Spawn<Held>, _) = mock::spawn_layer(layer);
    handle.allow(0);
    assert_pending!(service.poll_ready::<Request<Full<Bytes>>>());
    handle.allow(1);
    assert!(service.is_woken(), "the waker was handed on");
    assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());
}

#[test]
fn an_error_of_readiness_is_handed_on_as_it_is() {
    let (mut service, mut handle) = guarded::<Full<Bytes>>();
    handle.send_error("no capacity at all");
    let error = assert_ready_err!(service.poll_ready::<Request<Full<Bytes>>>());
    assert_eq!(error.to_string(), "no capacity at all");
    // Not more than once, and not for good.
    assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());
}

#[test]
fn an_error_of_the_inner_service_is_handed_on_as_it_is() {
    let (mut service, mut handle) = guarded::<Full<Bytes>>();
    assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());
    let mut future = spawn(service.call(passing()));
    assert_pending!(future.poll());
    let (_, send) = next_call!(handle);
    send.send_error(Refused(7));
    let error = assert_ready_err!(future.poll());
    assert_eq!(error.downcast_ref::<Refused>(), Some(&Refused(7)));
}

#[derive(Debug, PartialEq, Eq)]
struct Refused(u8);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

/// The error type is the inner one, not boxed and not wrapped.
#[test]
fn the_error_type_is_the_inner_one() {
    #[derive(Clone)]
    struct Fails;

    impl<B> Service<Request<B>> for Fails {
        type Response = InnerResponse;
        type Error = Refused;
        type Future = Ready<Result<InnerResponse, Refused>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<B>) -> Self::Future {
            ready(Err(Refused(1)))
        }
    }

    let mut service = guard().layer(Fails);
    let mut future = spawn(service.call(passing()));
    let error: Refused = assert_ready_err!(future.poll());
    assert_eq!(error, Refused(1));
    // What is refused is no error, whatever the inner service does.
    let mut future = spawn(service.call(refused()));
    assert_ready_ok!(future.poll());
}

/// A mock panics if a clone is called that was not polled ready.
#[test]
fn the_service_that_was_polled_ready_is_called_however_late() {
    let message = call("read").to_string();
    let chunks = message.as_bytes().chunks(10);
    let request = |chunks| passing().map(|_| Script::slow::<'static>(chunks));
    let chunks: Vec<&'static [u8]> = chunks
        .map(|chunk| &*Box::leak(Box::<[u8]>::from(chunk)))
        .collect();
    let (mut service, mut handle) = guarded::<Script>();

    assert_ready_ok!(service.poll_ready::<Request<Script>>());
    let mut first = spawn(service.call(request(chunks.clone())));
    assert_pending!(first.poll());
    assert_pending!(handle.poll_request());

    // Meanwhile others come and go.
    assert_ready_ok!(service.poll_ready::<Request<Script>>());
    let mut second = spawn(service.call(request(chunks.clone())));
    assert_pending!(second.poll());
    let mut clone = service.clone();
    assert_ready_ok!(clone.poll_ready::<Request<Script>>());
    let mut third = spawn(clone.call(request(chunks.clone())));
    drop(clone);
    drop(service);

    for future in [&mut third, &mut first, &mut second] {
        let mut polls = 0;
        let (request, send) = loop {
            assert_pending!(future.poll());
            if let Poll::Ready(called) = handle.poll_request() {
                break called.unwrap();
            }
            polls += 1;
            assert!(polls < 100, "the inner service is never called");
        };
        assert_eq!(
            request.body().size_hint().exact(),
            Some(message.len() as u64)
        );
        send.send_response(answer());
        assert_ready_ok!(future.poll());
    }
}

/// Counts services and calls, and insists on the contract.
#[derive(Debug)]
struct Strict {
    state: Arc<State>,
    /// Stands for a permit: the room that `poll_ready` reserved.
    ready: bool,
}

#[derive(Debug, Default)]
struct State {
    reserved: AtomicUsize,
    calls: AtomicUsize,
}

impl Strict {
    fn new() -> (Self, Arc<State>) {
        let state = Arc::<State>::default();
        let strict = Self {
            state: Arc::clone(&state),
            ready: false,
        };
        (strict, state)
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.ready) {
            self.state.reserved.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            ready: false,
        }
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<B> Service<Request<B>> for Strict {
    type Response = InnerResponse;
    type Error = Infallible;
    type Future = Ready<Result<InnerResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if !std::mem::replace(&mut self.ready, true) {
            self.state.reserved.fetch_add(1, Ordering::SeqCst);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(self.ready, "called without having been polled ready");
        self.give_back();
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(answer()))
    }
}

impl State {
    fn reserved(&self) -> usize {
        self.reserved.load(Ordering::SeqCst)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Every way in which a request can be refused.
fn refusals() -> Vec<(&'static str, Request<Script>)> {
    let body =
        |bytes: &'static str| Script::new([Step::Data(Bytes::from_static(bytes.as_bytes()))]);
    let request = |script: Script| passing().map(|_| script);
    let write = refused();
    let write = write.map(|_| Script::new([Step::Data(call("write").to_string().into())]));
    let mut not_json = request(body("{}"));
    let text = HeaderValue::from_static("text/plain");
    not_json.headers_mut().insert(header::CONTENT_TYPE, text);
    let mut put = request(body("{}"));
    *put.method_mut() = Method::PUT;
    let mut upgrade = request(body("{}"));
    let websocket = HeaderValue::from_static("websocket");
    upgrade.headers_mut().insert(header::UPGRADE, websocket);
    vec![
        ("by the policy", write),
        ("malformed", request(body("{"))),
        ("broken", request(Script::new([Step::Wait, Step::Break]))),
        ("too large", request(body("{}").announcing(1 << 40))),
        ("media type", not_json),
        ("method", put),
        ("upgrade", upgrade),
    ]
}

#[test]
fn a_refusal_drops_the_ready_service_uncalled() {
    for (why, request) in refusals() {
        let (strict, state) = Strict::new();
        let mut service = mock::Spawn::new(guard().layer(strict));
        assert_ready_ok!(service.poll_ready::<Request<Script>>());
        assert_eq!(state.reserved(), 1);
        let mut future = spawn(service.call(request));
        let response = loop {
            if let Poll::Ready(response) = future.poll() {
                break response.unwrap();
            }
        };
        // Before the answer has been read, and before the future is dropped.
        assert_eq!(state.reserved(), 0, "{why}: the room is still reserved");
        assert_eq!(state.calls(), 0, "{why}");
        drop(response);

        // And what is left is as good as new.
        assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());
        let mut future = spawn(service.call(passing()));
        assert_ready_ok!(future.poll());
        assert_eq!((state.reserved(), state.calls()), (0, 1), "{why}");
    }
}

#[test]
fn a_call_uses_what_was_reserved_for_it() {
    let (strict, state) = Strict::new();
    let mut service = mock::Spawn::new(guard().layer(strict));
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let before = state.calls();
        assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());
        assert_eq!(state.reserved(), 1);
        let mut request = passing();
        *request.method_mut() = method;
        let mut future = spawn(service.call(request));
        assert_ready_ok!(future.poll());
        assert_eq!((state.reserved(), state.calls()), (0, before + 1));
    }
}

#[test]
fn a_service_that_is_dropped_gives_back_what_was_reserved() {
    let (strict, state) = Strict::new();
    let mut service = mock::Spawn::new(guard().layer(strict));
    assert_ready_ok!(service.poll_ready::<Request<Script>>());
    let future = service.call(passing().map(|_| Script::new([Step::Hang])));
    drop(service);
    assert_eq!(state.reserved(), 1, "it is still needed");
    drop(future);
    assert_eq!(state.reserved(), 0);
}

#[test]
fn nothing_is_called_before_the_body_is_whole() {
    let message = call("read").to_string();
    let (mut service, mut handle) = guarded::<Script>();
    assert_ready_ok!(service.poll_ready::<Request<Script>>());
    let body = Script::slow(message.as_bytes().chunks(1));
    let mut future = spawn(service.call(passing().map(|_| body)));
    // One wait before every byte, and one before the end.
    for _ in 0..=message.len() {
        assert_pending!(handle.poll_request());
        assert_pending!(future.poll());
        assert_eq!(future.is_woken(), handle.poll_request().is_pending());
    }
    assert_pending!(future.poll());
    next_call!(handle).1.send_response(answer());
    assert_ready_ok!(future.poll());
}

/// What the inner service is called with.
async fn inner_sees(request: Request<Full<Bytes>>) -> (http::request::Parts, Bytes) {
    let (mut service, mut handle) = guarded::<Full<Bytes>>();
    assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());
    let mut future = spawn(service.call(request));
    assert_pending!(future.poll());
    let (request, send) = next_call!(handle);
    let (head, body) = request.into_parts();
    let exact = body.size_hint().exact();
    assert_eq!(body.is_end_stream(), exact == Some(0));
    let body = body.collect().await.unwrap();
    assert!(body.trailers().is_none());
    let body = body.to_bytes();
    assert_eq!(exact, Some(body.len() as u64));
    send.send_response(answer());
    assert_ready_ok!(future.poll());
    (head, body)
}

#[tokio::test]
async fn the_very_bytes_go_on() {
    // Spacing, order, number texts and escapes that no writer would choose.
    let text = "\n{ \"id\" :\t\"\\u0061 b\" , \"params\":{\"arguments\":{\"n\":1.0e+2,\"s\":\"\\/\"},\
                \r\n \"name\":\"read\"},\"method\":\"tools/call\", \"jsonrpc\":\"2.0\"} \n";
    let bytes = Bytes::from_static(text.as_bytes());
    let (head, body) = inner_sees(post("http://localhost/mcp", bytes.clone())).await;
    assert_eq!(body, bytes);
    assert_eq!(
        body.as_ptr(),
        bytes.as_ptr(),
        "a single chunk is not copied"
    );
    assert_eq!(head.headers[header::CONTENT_LENGTH], text.len().to_string());
    let permit = head.extensions.get::<Permit>().unwrap();
    assert_eq!(permit.request_id(), Some(r#""\u0061 b""#));
}

#[tokio::test]
async fn the_permit_has_the_id_as_it_was_written() {
    for id in ["7", "-1", "\"\"", "\"\\ud83d\\ude00\"", "\"hunter2\""] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let (head, _) = inner_sees(post("http://localhost/", text)).await;
        let permit = head.extensions.get::<Permit>().unwrap();
        assert_eq!(permit.request_id(), Some(id));
        assert!(!format!("{permit:?}").contains("hunter2"));
    }
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let (head, _) = inner_sees(post("http://localhost/", notification)).await;
    let permit = head.extensions.get::<Permit>().unwrap();
    assert_eq!(permit.request_id(), None);
}

#[tokio::test]
async fn the_head_fits_the_body() {
    let mut request = passing();
    let headers = [
        ("accept-encoding", "gzip, br"),
        ("accept-encoding", "zstd"),
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("trailer", "x-checksum"),
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("range", "bytes=0-9"),
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("mcp-session-id", "s1"),
        ("authorization", "Bearer t"),
        ("x-custom", "1"),
        ("x-custom", "2"),
    ];
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        request.headers_mut().append(name, value);
    }
    *request.version_mut() = Version::HTTP_10;
    request.extensions_mut().insert(17_u8);
    let (head, body) = inner_sees(request).await;

    let all = |name| head.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(all("accept-encoding"), ["identity"]);
    assert_eq!(all("content-length"), [&*body.len().to_string()]);
    assert_eq!(all("content-type"), ["application/json"]);
    for name in [
        "transfer-encoding",
        "trailer",
        "te",
        "expect",
        "range",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
    // All else is as it was.
    assert_eq!(all("mcp-session-id"), ["s1"]);
    assert_eq!(all("authorization"), ["Bearer t"]);
    assert_eq!(all("x-custom"), ["1", "2"]);
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.uri, "http://localhost/mcp");
    assert_eq!(head.version, Version::HTTP_10);
    assert_eq!(head.extensions.get::<u8>(), Some(&17));
}

#[tokio::test]
async fn get_and_delete_go_on_without_a_body() {
    for method in [Method::GET, Method::DELETE] {
        let mut request = refused();
        *request.method_mut() = method.clone();
        let length = HeaderValue::from_static("3");
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert("x-http-method-override", HeaderValue::from_static("POST"));
        headers.insert("last-event-id", HeaderValue::from_static("4"));
        let (head, body) = inner_sees(request).await;
        assert!(body.is_empty(), "{method} {body:?}");
        assert_eq!(head.method, method);
        assert!(!head.headers.contains_key(header::CONTENT_LENGTH));
        assert!(!head.headers.contains_key("x-http-method-override"));
        assert_eq!(head.headers["last-event-id"], "4");
        assert_eq!(head.headers[header::ACCEPT_ENCODING], "identity");
        assert_eq!(head.extensions.get::<Permit>().unwrap().request_id(), None);
    }
}

/// An unguarded path is passed without a look at it.
#[tokio::test]
async fn around() {
    let guard = guard().dangerous().unguarded_path("/health");
    let (mut service, mut handle) =
        mock::spawn_layer::<InnerRequest<Script>, Response<Script>, _>(guard);
    assert_ready_ok!(service.poll_ready::<Request<Script>>());
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    let steps = [
        Step::Data(Bytes::from_static(b"any")),
        Step::Trailers(trailers.clone()),
    ];
    let request = Request::put("http://localhost/health?quick=1")
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::CONTENT_ENCODING, "br")
        .header(header::TE, "trailers")
        .body(Script::new(steps.clone()))
        .unwrap();
    let before = request.headers().clone();
    let mut future = spawn(service.call(request));
    assert_pending!(future.poll());
    let (request, send) = next_call!(handle);
    assert_eq!(*request.headers(), before);
    assert!(request.extensions().get::<Permit>().is_none());
    let body = request.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), "any");

    let mut response = Response::new(Script::new(steps));
    *response.status_mut() = StatusCode::FOUND;
    let gzip = HeaderValue::from_static("gzip");
    response
        .headers_mut()
        .insert(header::CONTENT_ENCODING, gzip);
    let headers = response.headers().clone();
    send.send_response(response);
    let response = assert_ready_ok!(future.poll());
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(*response.headers(), headers);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), "any");
}

/// Nothing is done before the future is polled, apart from calls that need no
/// body.
#[test]
fn lazy() {
    let (mut service, mut handle) = guarded::<Script>();
    assert_ready_ok!(service.poll_ready::<Request<Script>>());
    let body = Script::new([Step::Data(call("read").to_string().into())]);
    let watch = body.watch();
    let future = service.call(passing().map(|_| body));
    assert_eq!(watch.polls(), 0);
    assert_pending!(handle.poll_request());
    let mut future = spawn(future);
    assert_pending!(future.poll());
    assert!(watch.is_dropped(), "the body that was read is not kept");
    next_call!(handle).1.send_response(answer());
    assert_ready_ok!(future.poll());
}

/// What has answered once stays silent, as futures may.
#[test]
fn polled_again_after_the_end() {
    let (mut service, _handle) = guarded::<Full<Bytes>>();
    assert_ready_ok!(service.poll_ready::<Request<Full<Bytes>>>());
    let mut future = pin!(service.call(refused()));
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_ready());
    assert!(future.as_mut().poll(&mut context).is_pending());
}

/// The bodies that layers above make by themselves.
#[tokio::test]
async fn bodies_of_our_own() {
    let empty = ResponseBody::<Script>::default();
    assert!(empty.is_end_stream());
    assert_eq!(empty.size_hint().exact(), Some(0));
    assert!(Answer::read(Response::new(empty)).await.body.is_empty());

    let text = ResponseBody::<Script>::from(Bytes::from_static(b"text"));
    assert!(!text.is_end_stream());
    assert_eq!(text.size_hint().exact(), Some(4));
    assert_eq!(Answer::read(Response::new(text)).await.body, "text");

    let empty = HeldBody::<Script, Infallible>::default();
    assert!(empty.is_end_stream());
    assert_eq!(empty.size_hint().exact(), Some(0));
    let text = HeldBody::<Script, Infallible>::from(Bytes::from_static(b"text"));
    assert!(!text.is_end_stream());
    assert_eq!(text.size_hint().exact(), Some(4));
    assert_eq!(text.collect().await.unwrap().to_bytes(), "text");
}
