//! What is dropped is dropped at once, at whatever point; memory that was
//! counted is given back; and the limits hold.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests"
)]

mod frames;
mod held;
mod records;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use mcp_policy::{PolicyLayer, RequestBody};
use serde_json::Value;
use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready};
use tower::{Layer, Service};

use self::support::body::{Broken, Script, Step, Watch};
use self::support::net::{Answer, post_message, send, serve};
use self::support::{call, guard, list, soon};

const LIST: &str = concat!(
    r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"read","inputSchema":{}},"#,
    r#"{"name":"secret","inputSchema":{}}]}}"#
);

/// More polls than any future here needs.
const MANY: usize = 1000;

/// An inner service that takes its time everywhere, and writes down what
/// happened.
#[derive(Clone)]
struct Slow {
    seen: Arc<Seen>,
    /// How often the future waits before and after it reads the body.
    waits: usize,
    media_type: &'static str,
    chunks: Vec<Bytes>,
    /// The session that it begins.
    session: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The lengths of the bodies with which the service was called.
    called: Mutex<Vec<Option<u64>>>,
    running: AtomicUsize,
    answers: Mutex<Vec<Watch>>,
}

impl Slow {
    fn json() -> Self {
        Self {
            seen: Arc::default(),
            waits: 3,
            media_type: "application/json",
            chunks: chunks(LIST, 20),
            session: None,
        }
    }

    fn events() -> Self {
        let text = format!(": hello\n\ndata: {LIST}\n\nevent: message\nid: 2\ndata: {LIST}\n\n");
        Self {
            media_type: "text/event-stream",
            chunks: chunks(&text, 20),
            ..Self::json()
        }
    }
}

fn chunks(text: &str, size: usize) -> Vec<Bytes> {
    let chunks = text.as_bytes().chunks(size);
    chunks.map(Bytes::copy_from_slice).collect()
}

impl Seen {
    fn is_idle(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 0
            && self.answers.lock().unwrap().iter().all(Watch::is_dropped)
    }

    fn called(&self) -> Vec<Option<u64>> {
        self.called.lock().unwrap().clone()
    }

    fn take_called(&self) -> Vec<Option<u64>> {
        std::mem::take(&mut *self.called.lock().unwrap())
    }
}

/// The inner service is at work as long as there is one.
struct Running(Arc<Seen>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn wait(polls: usize) {
    let mut left = polls;
    std::future::poll_fn(|context| match left.checked_sub(1) {
        None => Poll::Ready(()),
        Some(less) => {
            left = less;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

impl<B> Service<Request<RequestBody<B>>> for Slow
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + 'static,
{
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        let Self {
            seen,
            waits,
            media_type,
            chunks,
            session,
        } = self.clone();
        let length = request.body().size_hint().exact();
        seen.called.lock().unwrap().push(length);
        seen.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(seen);
        Box::pin(async move {
            wait(waits).await;
            let body = request.into_body().collect().await.unwrap().to_bytes();
            // A GET and a DELETE have none.
            if !body.is_empty() {
                serde_json::from_slice::<Value>(&body).unwrap();
            }
            wait(waits).await;
            let body = Script::slow(chunks.iter().map(|chunk| &**chunk));
            running.0.answers.lock().unwrap().push(body.watch());
            let mut response = Response::builder().header(header::CONTENT_TYPE, media_type);
            if let Some(session) = session {
                response = response.header("mcp-session-id", session);
            }
            Ok(response.body(body).unwrap())
        })
    }
}

fn request(body: Script) -> Request<Script> {
    post_message("http://localhost/", &list()).map(|_| body)
}

fn slow_request() -> Request<Script> {
    let text = list().to_string();
    request(Script::slow(text.as_bytes().chunks(5)))
}

/// No byte more than one request and its answer need.
fn tight(slow: &Slow) -> PolicyLayer {
    let answer = match slow.media_type {
        // The longest event, which is held until it is whole.
        "text/event-stream" => LIST.len() + 40,
        _ => LIST.len(),
    };
    guard()
        .request_budget(list().to_string().len())
        .response_budget(answer)
}

/// Polls a future to its end: what it gave, and how many polls were in vain.
fn finish<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = spawn(future);
    for polls in 0..MANY {
        if let Poll::Ready(output) = future.poll() {
            return (output, polls);
        }
        assert!(future.is_woken(), "nothing would ever wake it");
    }
    panic!("it does not end");
}

/// A whole exchange works, and nobody was refused for want of memory.
fn assert_works<S, R>(service: &mut S)
where
    S: Service<Request<Script>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error = Broken>,
{
    let (response, _) = finish(service.call(slow_request()));
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let media_type = response.headers()[header::CONTENT_TYPE].clone();
    let (body, _) = finish(response.into_body().collect());
    let text = String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let lists = text.matches(r#""tools":[{"name":"read""#).count();
    let expected = if media_type == "text/event-stream" {
        2
    } else {
        1
    };
    assert_eq!(lists, expected, "{text}");
}

/// Drops the future of the response after every possible number of polls.
fn drop_the_future(slow: Slow) {
    let seen = Arc::clone(&slow.seen);
    let whole = list().to_string().len() as u64;
    let mut service = tight(&slow).layer(slow);
    let (_, polls) = finish(service.call(slow_request()));
    assert!(polls > 10);
    seen.called.lock().unwrap().clear();

    let mut calls = 0;
    for k in 0..=polls {
        let request = slow_request();
        let body = request.body().watch();
        let mut future = spawn(service.call(request));
        for _ in 0..k {
            assert_pending!(future.poll());
        }
        drop(future);
        assert!(body.is_dropped(), "after {k} polls");
        assert!(seen.is_idle(), "after {k} polls: {seen:?}");
        // Called with all or not at all.
        let called = std::mem::take(&mut *seen.called.lock().unwrap());
        assert!(called.iter().all(|length| *length == Some(whole)));
        assert!(called.len() <= 1);
        calls += called.len();

        assert_works(&mut service);
        seen.called.lock().unwrap().clear();
    }
    // There was something to see on both sides.
    assert!(calls > 3 && calls < polls - 3, "{calls} of {polls}");
}

#[test]
fn the_future_is_dropped_json() {
    drop_the_future(Slow::json());
}

#[test]
fn the_future_is_dropped_events() {
    drop_the_future(Slow::events());
}

/// Drops the body of the response after every possible number of polls.
fn drop_the_body(slow: Slow) {
    let seen = Arc::clone(&slow.seen);
    let mut service = tight(&slow).layer(slow);
    for k in 0.. {
        assert!(k < MANY, "it does not end");
        let (response, _) = finish(service.call(slow_request()));
        let mut body = response.unwrap().into_body();
        let mut ended = false;
        {
            let mut frames = spawn(std::future::poll_fn(|context| {
                Pin::new(&mut body).poll_frame(context)
            }));
            for _ in 0..k {
                ended = matches!(frames.poll(), Poll::Ready(None));
            }
        }
        drop(body);
        assert!(seen.is_idle(), "after {k} polls: {seen:?}");
        assert_works(&mut service);
        if ended {
            assert!(k > 1);
            break;
        }
    }
}

#[test]
fn the_body_is_dropped_json() {
    drop_the_body(Slow::json());
}

#[test]
fn the_body_is_dropped_events() {
    drop_the_body(Slow::events());
}

/// The inner body is not kept when it has given all it has.
#[test]
fn what_has_ended_is_dropped_before_the_response_is() {
    for slow in [Slow::json(), Slow::events()] {
        let seen = Arc::clone(&slow.seen);
        let mut service = tight(&slow).layer(slow);
        let (response, _) = finish(service.call(slow_request()));
        let mut body = response.unwrap().into_body();
        loop {
            let (frame, _) = finish(std::future::poll_fn(|context| {
                Pin::new(&mut body).poll_frame(context)
            }));
            if frame.is_none() {
                break;
            }
        }
        assert!(seen.is_idle());
        assert_works(&mut service);
        drop(body);
    }
}

/// Over a socket: the client goes away in the middle of a call.
#[tokio::test]
async fn a_client_that_goes_away_ends_the_call() {
    struct Tell(Option<tokio::sync::oneshot::Sender<()>>);

    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }

    for h2 in [false, true] {
        let (started, wait_for_start) = tokio::sync::oneshot::channel();
        let (ended, wait_for_end) = tokio::sync::oneshot::channel();
        let once = Arc::new(Mutex::new(Some((started, Tell(Some(ended))))));
        let service = guard().layer(tower::service_fn(move |_| {
            let (started, tell) = once.lock().unwrap().take().unwrap();
            async move {
                let _tell = tell;
                started.send(()).unwrap();
                std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
            }
        }));
        let server = serve(service).await;
        let url = server.url("/");
        let client = tokio::spawn(async move {
            let mut client = match h2 {
                false => support::net::http1(),
                true => support::net::http2(),
            };
            client.call(post_message(&url, &call("read"))).await
        });
        soon(wait_for_start).await.unwrap();
        client.abort();
        soon(wait_for_end).await.unwrap();
    }
}

// ===== The budget of requests =====

fn judged(answer: &Answer) -> &'static str {
    match answer.status {
        StatusCode::OK => "passed",
        StatusCode::SERVICE_UNAVAILABLE => "busy",
        other => panic!("{other}: {answer:?}"),
    }
}

fn assert_busy(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    assert_eq!(answer.message()["error"]["code"], -31503);
}

#[tokio::test]
async fn bodies_that_are_being_read_use_the_budget_up() {
    let slow = Slow::json();
    let text = list().to_string();
    let layer = guard().request_budget(text.len() + 4);
    let mut service = layer.layer(slow.clone());
    // A service of the same layer shares the budget, and so does one that is told to; one
    // of another layer does not.
    let mut sibling = layer.clone().layer(slow.clone());
    let sharing = guard().sharing_budgets_of(&layer);
    let mut cousin = sharing.layer(slow.clone());
    let mut stranger = guard().request_budget(text.len()).layer(slow.clone());

    let hanging = Script::new([Step::Data(Bytes::from_static(b"{    ")), Step::Hang]);
    let mut first = spawn(service.call(request(hanging)));
    assert_pending!(first.poll());

    for service in [&mut service, &mut sibling, &mut cousin] {
        let body = Script::slow(text.as_bytes().chunks(5));
        let watch = body.watch();
        let (response, _) = finish(service.call(request(body)));
        assert!(watch.is_dropped(), "nothing more is read");
        let answer = Answer::read(response.unwrap()).await;
        assert_busy(&answer);
    }
    assert_eq!(slow.seen.called(), []);
    assert_works(&mut stranger);

    drop(first);
    assert_works(&mut service);
    assert_works(&mut sibling);
    assert_works(&mut cousin);
}

/// Bytes count until the inner service has taken them.
#[tokio::test]
async fn bodies_that_are_passed_on_use_the_budget_up_until_they_are_read() {
    let text = list().to_string();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let mut service = guard().request_budget(text.len()).layer(tower::service_fn(
        move |request: Request<RequestBody<Script>>| {
            keep.lock().unwrap().push(request.into_body());
            std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
        },
    ));

    let mut try_it = async || {
        let (response, _) = finish(service.call(slow_request()));
        let answer = Answer::read(response.unwrap()).await;
        judged(&answer)
    };
    assert_eq!(try_it().await, "passed");
    assert_eq!(try_it().await, "busy");
    // Dropped unread.
    kept.lock().unwrap().clear();
    assert_eq!(try_it().await, "passed");
    assert_eq!(try_it().await, "busy");
    // Read.
    let mut body = kept.lock().unwrap().pop().unwrap();
    let frame = assert_ready!(poll_body(&mut body)).unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), text);
    assert_eq!(try_it().await, "passed");
    drop(body);
}

/// Every way to end gives back what was counted.
#[tokio::test]
async fn refusals_give_the_budget_back() {
    let text = list().to_string();
    let denied = call("write").to_string();
    let budget = text.len().max(denied.len());
    let slow = Slow::json();
    let mut service = guard()
        .max_body_size(budget)
        .request_budget(budget)
        .layer(slow.clone());
    let chunk = |bytes: &str| Step::Data(Bytes::copy_from_slice(bytes.as_bytes()));
    let bodies = [
        ("denied", vec![chunk(&denied)]),
        ("malformed", vec![chunk("{"), chunk("}}")]),
        ("broken", vec![chunk("{"), Step::Break]),
        ("too large", vec![chunk(&text), chunk(&denied)]),
    ];
    for (why, steps) in bodies {
        let (response, _) = finish(service.call(request(Script::new(steps))));
        // As soon as it is refused, not only when the answer was read.
        assert_works(&mut service);
        let response = response.unwrap();
        assert_ne!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{why}");
    }
}

// ===== The limits of one request =====

/// A whole call, and what the policy said to it.
async fn answered(layer: PolicyLayer, request: Request<Script>) -> (Answer, Vec<Option<u64>>) {
    let slow = Slow::json();
    let mut service = layer.layer(slow.clone());
    let (response, _) = finish(service.call(request));
    (Answer::read(response.unwrap()).await, slow.seen.called())
}

#[tokio::test]
async fn too_large_by_its_announcement() {
    let text = list().to_string();
    let limit = text.len();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let body = Script::new([Step::Hang]).announcing(limit as u64 + 1);
        let watch = body.watch();
        let mut request = request(body);
        *request.version_mut() = version;
        let slow = Slow::json();
        let mut service = guard().max_body_size(limit).layer(slow.clone());
        let mut future = spawn(service.call(request));
        // Without reading a byte, and with the first poll.
        let response = assert_ready!(future.poll()).unwrap();
        assert_eq!(watch.polls(), 0);
        assert!(watch.is_dropped());
        let answer = Answer::read(response).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        let text = answer.message()["error"]["message"].to_string();
        assert!(text.contains(&limit.to_string()), "{text}");
        assert!(answer.message().get("id").is_none());
        // HTTP/2 has no connection to close for it, and forbids the header.
        let close = answer.headers.get(header::CONNECTION);
        match version {
            Version::HTTP_11 => assert_eq!(close.unwrap(), "close"),
            _ => assert_eq!(close, None),
        }
        assert_eq!(slow.seen.called(), []);
    }

    let body = Script::slow([text.as_bytes()]).announcing(limit as u64);
    let (answer, called) = answered(guard().max_body_size(limit), request(body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(called, [Some(limit as u64)]);
}

#[tokio::test]
async fn too_large_by_count() {
    let text = list().to_string();
    for size in [1, 7, text.len()] {
        let body = || Script::slow(text.as_bytes().chunks(size));
        let layer = guard().max_body_size(text.len());
        let (answer, called) = answered(layer, request(body())).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(called, [Some(text.len() as u64)]);

        let layer = guard().max_body_size(text.len() - 1);
        let (answer, called) = answered(layer, request(body())).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(called, []);
    }
    // An announcement that was a lie.
    let body = Script::slow([text.as_bytes()]).announcing(3);
    let layer = guard().max_body_size(text.len() - 1);
    let (answer, called) = answered(layer, request(body)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(called, []);
}

/// What comes after the limit is not read.
#[test]
fn an_endless_body_is_read_no_further_than_the_limit() {
    let text = vec![b' '; 100];
    let body = Script::new([Step::Data(text.into()), Step::Hang]);
    let watch = body.watch();
    let mut service = guard().max_body_size(99).layer(Slow::json());
    let mut future = spawn(service.call(request(body)));
    let response = assert_ready!(future.poll()).unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(watch.is_dropped());
}

/// A body that is always ready lets others have their turn.
#[test]
fn a_body_that_is_always_ready_does_not_keep_the_thread() {
    let crumbs = |count| Script::new(vec![Step::Data(Bytes::from_static(b" ")); count]);
    let body = crumbs(10_000);
    let watch = body.watch();
    let mut service = guard().layer(Slow::json());
    let mut future = spawn(service.call(request(body)));
    assert_pending!(future.poll());
    assert!(watch.polls() < 1000);
    assert!(future.is_woken());
    // Frames of no bytes are no way around it.
    let empty = Script::new(vec![Step::Data(Bytes::new()); 10_000]);
    let mut future = spawn(service.call(request(empty)));
    assert_pending!(future.poll());
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let text = list().to_string();
    for at in 0..=text.len() {
        let start = Bytes::copy_from_slice(&text.as_bytes()[..at]);
        let body = Script::new([Step::Wait, Step::Data(start), Step::Wait, Step::Break]);
        let watch = body.watch();
        let (answer, called) = answered(guard(), request(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.message()["error"]["code"], -32700);
        assert_eq!(called, [], "after {at} bytes");
        assert!(watch.is_dropped());
    }
}

/// The same over a socket: nothing is called, nobody is harmed.
#[tokio::test]
async fn a_connection_that_breaks_off() {
    use tokio::io::AsyncWriteExt;

    let mcp = support::mcp::Mcp::default();
    let text = call("read").to_string();
    let layer = guard().request_budget(text.len());
    let server = serve(layer.layer(mcp.clone())).await;
    for at in [1, text.len() - 1] {
        let mut stream = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            text.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&text.as_bytes()[..at]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
        let _ = soon(read).await;
        assert!(!String::from_utf8_lossy(&answer).contains("has run"));
    }
    assert_eq!(mcp.log.take(), [""; 0]);
    let answer = send(post_message(&server.url("/"), &call("read"))).await;
    assert_eq!(answer.text(), "read has run");
}

// ===== The budget of answers =====

fn answering(steps: Vec<Step>, media_type: &'static str) -> impl Fn() -> Response<Script> + Clone {
    move || {
        let mut response = Response::new(Script::new(steps.clone()));
        let media_type = HeaderValue::from_static(media_type);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        response
    }
}

type Answering =
    tower::util::BoxCloneService<Request<RequestBody<Script>>, Response<Script>, Infallible>;

/// Answers with the responses in turn.
fn in_turn(responses: Vec<Response<Script>>) -> Answering {
    let responses = Arc::new(Mutex::new(std::collections::VecDeque::from(responses)));
    Answering::new(tower::service_fn(move |_| {
        let response = responses.lock().unwrap().pop_front().unwrap();
        std::future::ready(Ok(response))
    }))
}

fn data(text: &str) -> Step {
    Step::Data(Bytes::copy_from_slice(text.as_bytes()))
}

/// The answer is an error, and says that the call was made.
fn assert_not_repeated(answer: &Answer) {
    let message = answer.message();
    assert_eq!(message["id"], 7, "{message}");
    assert_eq!(message["error"]["code"], -32603, "{message}");
    let text = message["error"]["message"].as_str().unwrap();
    assert!(
        text.contains("do not repeat") || text.contains("Do not repeat"),
        "{text}"
    );
}

#[tokio::test]
async fn answers_that_are_held_use_the_budget_up() {
    let hanging = answering(vec![data(&LIST[..20]), Step::Hang], "application/json");
    let whole = answering(vec![data(LIST)], "application/json");
    let inner = in_turn(vec![hanging(), whole(), whole(), whole(), whole()]);
    let mut service = guard().response_budget(LIST.len() + 10).layer(inner);

    let mut first = spawn(service.call(slow_request()));
    // As far as it comes.
    loop {
        assert_pending!(first.poll());
        if !first.is_woken() {
            break;
        }
    }
    let (second, _) = finish(service.call(slow_request()));
    assert_not_repeated(&Answer::read(second.unwrap()).await);
    drop(first);

    // A judged answer counts until it has been sent.
    let (third, _) = finish(service.call(slow_request()));
    let third = third.unwrap();
    let (fourth, _) = finish(service.call(slow_request()));
    assert_not_repeated(&Answer::read(fourth.unwrap()).await);
    assert_eq!(Answer::read(third).await.tools(), ["read"]);
    let (fifth, _) = finish(service.call(slow_request()));
    assert_eq!(Answer::read(fifth.unwrap()).await.tools(), ["read"]);
}

#[tokio::test]
async fn events_that_are_held_use_the_budget_up() {
    let event = format!("data: {LIST}\n\n");
    let hanging = answering(vec![data(&event[..20]), Step::Hang], "text/event-stream");
    let whole = answering(
        vec![data(&event[..30]), data(&event[30..])],
        "text/event-stream",
    );
    let responses = vec![hanging(), whole(), whole()];
    let watches: Vec<_> = responses.iter().map(|r| r.body().watch()).collect();
    let mut service = guard().response_budget(45).layer(in_turn(responses));

    let (first, _) = finish(service.call(slow_request()));
    let mut first = first.unwrap().into_body();
    assert_pending!(poll_body(&mut first));

    let (second, _) = finish(service.call(slow_request()));
    let mut second = second.unwrap().into_body();
    let frame = assert_ready!(poll_body(&mut second)).unwrap().unwrap();
    // The stream ends there, and the server is told at once.
    assert!(watches[1].is_dropped());
    let mut answer = Response::new(Full::new(frame.into_data().unwrap()));
    let media_type = HeaderValue::from_static("text/event-stream");
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    assert_not_repeated(&Answer::read(answer).await);
    assert!(assert_ready!(poll_body(&mut second)).is_none());

    assert!(!watches[0].is_dropped());
    drop(first);
    assert!(watches[0].is_dropped());
    let (third, _) = finish(service.call(slow_request()));
    assert_eq!(Answer::read(third.unwrap()).await.tools(), ["read"]);
}

/// Polls a body once.
fn poll_body<B>(body: &mut B) -> Poll<Option<Result<Frame<Bytes>, Broken>>>
where
    B: Body<Data = Bytes, Error = Broken> + Unpin,
{
    spawn(std::future::poll_fn(|context| {
        Pin::new(&mut *body).poll_frame(context)
    }))
    .poll()
}

/// What has been judged counts as long as nobody has taken it: a client that
/// is slow to read must not make us hold more than the budget.
#[tokio::test]
async fn events_that_wait_to_be_sent_use_the_budget_up() {
    // Nothing to hide in them, but a line that is left out: each goes on by itself.
    let long = |title: usize| {
        let title = "a".repeat(title);
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"result":{{"tools":[{{"name":"read","title":"{title}"}}]}}}}"#
        )
    };
    let event = format!("event: message\nodd: line\ndata: {}\n\n", long(500));
    let waiting = vec![data(&event.repeat(2)), Step::Hang];
    let waiting = answering(waiting, "text/event-stream");
    // Room for both events, but not for one of them and the answer.
    let budget = 2 * event.len();
    let long = long(800);
    let whole = answering(vec![data(&long)], "application/json");
    let inner = in_turn(vec![waiting(), whole(), whole()]);
    let mut service = guard().response_budget(budget).layer(inner);

    let (first, _) = finish(service.call(slow_request()));
    let mut first = first.unwrap().into_body();
    let frame = assert_ready!(poll_body(&mut first)).unwrap().unwrap();
    let taken = frame.into_data().unwrap().len();
    let (second, _) = finish(service.call(slow_request()));
    let second = Answer::read(second.unwrap()).await;
    let mut waiting = 0;
    while let Poll::Ready(frame) = poll_body(&mut first) {
        waiting += frame.unwrap().unwrap().into_data().unwrap().len();
    }
    assert!(
        waiting + long.len() <= budget || second.message().get("error").is_some(),
        "{waiting} bytes of events after {taken} were taken, and an answer of {} bytes, \
         were held in a budget of {budget}",
        long.len()
    );
    drop(second);

    let (third, _) = finish(service.call(slow_request()));
    assert_eq!(Answer::read(third.unwrap()).await.tools(), ["read"]);
}

#[tokio::test]
async fn answers_that_are_too_large() {
    let event = format!("data: {LIST}\n\n");
    let cases = [
        (
            answering(vec![data(LIST), Step::Hang], "application/json"),
            false,
        ),
        (
            answering(
                vec![data(&LIST[..50]), data(&LIST[50..]), Step::Hang],
                "application/json",
            ),
            false,
        ),
        (
            answering(
                vec![data(&event[..LIST.len()]), Step::Hang],
                "text/event-stream",
            ),
            true,
        ),
    ];
    for (answering, events) in cases {
        let response = answering();
        let watch = response.body().watch();
        let mut service = guard()
            .max_response_size(LIST.len() - 10)
            .layer(in_turn(vec![response]));
        let (response, _) = finish(service.call(slow_request()));
        assert_eq!(watch.is_dropped(), !events);
        let answer = Answer::read(response.unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(watch.is_dropped());
        assert_not_repeated(&answer);
        assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
    }
}

#[tokio::test]
async fn answers_that_break_off() {
    let response = answering(vec![data(&LIST[..50]), Step::Break], "application/json")();
    let watch = response.body().watch();
    let mut service = guard().layer(in_turn(vec![response]));
    let (response, _) = finish(service.call(slow_request()));
    assert!(watch.is_dropped());
    assert_not_repeated(&Answer::read(response.unwrap()).await);

    // A stream has begun; it ends with the error that the server gave, and
    // without the half of an event.
    let text = format!("data: {LIST}\n\ndata: {LIST}");
    let response = answering(vec![data(&text), Step::Break], "text/event-stream")();
    let watch = response.body().watch();
    let mut service = guard().layer(in_turn(vec![response]));
    let (response, _) = finish(service.call(slow_request()));
    let mut body = response.unwrap().into_body();
    let mut seen = Vec::new();
    let error = loop {
        match assert_ready!(poll_body(&mut body)).unwrap() {
            Ok(frame) => seen.extend_from_slice(&frame.into_data().unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Broken);
    assert!(watch.is_dropped());
    assert_eq!(String::from_utf8(seen).unwrap().matches("read").count(), 1);
    assert!(assert_ready!(poll_body(&mut body)).is_none());
}

/// An event goes on when it is whole, not when the stream has ended.
#[test]
fn events_do_not_wait_for_the_end() {
    let event = format!("data: {LIST}\n\n");
    let steps = vec![data(": alive\n\n"), data(&event), Step::Hang];
    let mut service = guard().layer(in_turn(vec![answering(steps, "text/event-stream")()]));
    let (response, _) = finish(service.call(slow_request()));
    let mut body = response.unwrap().into_body();
    let mut seen = Vec::new();
    while let Poll::Ready(frame) = poll_body(&mut body) {
        seen.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
    }
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with(": alive\n\n"), "{seen}");
    assert!(seen.ends_with("\n\n") && seen.contains("read"), "{seen}");
}
