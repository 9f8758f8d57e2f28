//! Event streams: judged event by event, and not held back.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Response};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use mcp_policy::PolicyLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::server::{Body, Exchange, POLICY, call, pieces, post};

fn stream_of(chunks: &[&[u8]]) -> Response<Body> {
    let mut response = Response::new(pieces(chunks));
    let headers = response.headers_mut();
    headers.insert(
        "content-type",
        "text/event-stream; charset=utf-8".parse().unwrap(),
    );
    headers.insert("content-length", "9999".parse().unwrap());
    headers.insert("x-accel-buffering", "no".parse().unwrap());
    response
}

async fn passed(method: Method, chunks: &[&[u8]]) -> String {
    let mut request = post(call("safe"));
    *request.method_mut() = method;
    let (_, answer) = Exchange::answering(POLICY, stream_of(chunks))
        .send(request)
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    assert!(!answer.headers.contains_key("content-length"));
    answer.text().to_owned()
}

const LIST: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"secret"},{"name":"safe"}]}}"#;
const SHOWN: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"safe"}]}}"#;

#[tokio::test]
async fn lists_are_filtered_on_every_stream() {
    let stream = format!("id: 0\r\ndata:\r\n\r\nid: 1\r\nevent: message\r\ndata: {LIST}\r\n\r\n");
    let expected = format!("id: 0\r\ndata:\r\n\r\nid: 1\nevent: message\ndata: {SHOWN}\n\n");
    for method in [Method::POST, Method::GET] {
        assert_eq!(passed(method, &[stream.as_bytes()]).await, expected);
    }
}

#[tokio::test]
async fn in_whatever_framing() {
    let split = LIST.replace("[{", "[\n{");
    for stream in [
        format!("data:{LIST}\n\n"),
        format!("data: {LIST}\r\r"),
        format!("\u{feff}data: {LIST}\n\n"),
        format!("event: foo\ndata: {LIST}\n\n"),
        format!("data: [{LIST}]\n\n"),
        format!("junk: {LIST}\n\n"),
        format!(": {LIST}\n\n"),
        format!("junk: x\ndata: {LIST}\n\n"),
        format!("id: 1\u{2028}data: {LIST}\n\n"),
        format!("id: 1\u{c}data: {LIST}\n\n"),
        format!("data: [null,null,null,null,null,{LIST}]\n\n"),
        "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[null,null,null,null,null,[{\"name\":\"secret\"}]]}\n\n".to_owned(),
        split
            .lines()
            .map(|line| format!("data: {line}\n"))
            .collect::<String>()
            + "\n",
        format!("data: {LIST}"),
        format!("data: {LIST}\n"),
        format!("data: \u{feff}{LIST}\n\n"),
        format!("data: {LIST} {LIST}\n\n"),
        "data: {\"result\"\r:{\"tools\":[{\"name\":\"secret\"}]}}\n\n".to_owned(),
    ] {
        let bytes = stream.as_bytes();
        for size in [1, 2, 5, bytes.len()] {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            let passed = passed(Method::GET, &chunks).await;
            assert!(
                !passed.contains("secret"),
                "{stream:?} in pieces of {size}: {passed:?}"
            );
        }
    }
}

#[tokio::test]
async fn untouched_events_keep_every_byte() {
    let stream = concat!(
        ": keep-alive\n\nretry: 500\nid: 9\ndata:\n\n",
        "event: endpoint\r\ndata: /messages?sessionId=1\r\n\r\n",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progress\":1.0}}\r\r",
        "data: {\"jsonrpc\":\"2.0\",\"id\":1,\ndata: \"result\":{\"content\":[]}}\n\n",
    );
    let bytes = stream.as_bytes();
    for size in 1..bytes.len() {
        let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(
            passed(Method::POST, &chunks).await,
            stream,
            "in pieces of {size}"
        );
    }
}

#[tokio::test]
async fn an_unreadable_event_becomes_the_error_of_its_call() {
    let broken = r#"{"jsonrpc":"2.0","id":"other","result":{"a":NaN}}"#;
    let text = passed(
        Method::GET,
        &[format!("id: 4\ndata: {broken}\n\n").as_bytes()],
    )
    .await;
    assert!(
        text.starts_with("id: 4\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"other\",\"error\":"),
        "{text}"
    );
    // Without an id of its own it can only be about the call on whose stream it is.
    let text = passed(Method::POST, &[b"data: {broken\n\n"]).await;
    assert!(
        text.starts_with("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":"),
        "{text}"
    );
    assert_eq!(passed(Method::GET, &[b"data: {broken\n\n"]).await, "");
    // A broken request or notification of the server's answers nothing.
    for id in ["\"id\":1,", ""] {
        let call =
            format!("data: {{\"jsonrpc\":\"2.0\",{id}\"method\":\"ping\",\"params\":NaN}}\n\n");
        assert_eq!(passed(Method::POST, &[call.as_bytes()]).await, "");
    }
}

#[tokio::test]
async fn an_event_over_the_cap_ends_the_stream_with_an_error() {
    let chunk = [b"data: ".as_slice(), &[b'x'; 94]].concat();
    let chunks = vec![chunk.as_slice(); 100];
    for (method, error) in [(Method::POST, true), (Method::GET, false)] {
        let mut request = post(call("safe"));
        *request.method_mut() = method;
        let mut exchange = Exchange::answering(POLICY, stream_of(&chunks));
        exchange.layer = exchange.layer.max_response_size(1_000);
        let (_, answer) = exchange.send(request).await;
        assert_eq!(
            answer
                .text()
                .starts_with("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,"),
            error
        );
        assert!(answer.text().len() < 500);
    }
}

#[tokio::test]
async fn keep_alives_and_events_do_not_wait_for_more() {
    let server = service_fn(|_| async {
        let chunks = [": ping\r", "\n", "data: {}\n", "\n", "data: {}\n\nda"];
        let frames = chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))));
        let endless = stream::iter(frames).chain(stream::pending());
        let response = Response::builder()
            .header("content-type", "text/event-stream")
            .body(StreamBody::new(endless));
        Ok::<_, Infallible>(response.unwrap())
    });
    let layer = PolicyLayer::new(POLICY.parse().unwrap());
    let request = post(call("safe"));
    let response = layer.layer(server).oneshot(request).await.unwrap();
    let mut body = pin!(response.into_body());
    let mut context = Context::from_waker(Waker::noop());
    let mut arrived = Vec::new();
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
        let data = frame.unwrap().into_data().unwrap();
        arrived.push(String::from_utf8(data.to_vec()).unwrap());
    }
    assert_eq!(arrived, [": ping\r", "\n", "data: {}\n\n", "data: {}\n\n"]);
    assert!(!body.is_end_stream());
}

/// The inner service of the two-endpoint transport: a stream that announces
/// where to POST, and that endpoint.
#[tokio::test]
async fn a_refusal_on_the_transport_of_2024_11_05_goes_to_its_stream() {
    let server = service_fn(
        |request: http::Request<mcp_policy::RequestBody<Body>>| async move {
            let announced = Ok::<_, Infallible>(Frame::data(Bytes::from(
                "event: endpoint\ndata: /prefix/messages?sessionId=1\n\n",
            )));
            let other = Ok(Frame::data(Bytes::from("data: /other?sessionId=2\n\n")));
            let frames = if request.method() == Method::GET {
                vec![announced, other]
            } else {
                vec![]
            };
            let endless = stream::iter(frames).chain(stream::pending());
            let response = Response::builder()
                .header("content-type", "text/event-stream")
                .body(StreamBody::new(endless));
            Ok::<_, Infallible>(response.unwrap())
        },
    );
    let layer = PolicyLayer::new(POLICY.parse().unwrap()).accept_batches();
    let service = layer.layer(server);
    let send_to = |target: &str, body: String| {
        let mut request = post(body);
        *request.uri_mut() = target.parse().unwrap();
        service.clone().oneshot(request)
    };
    let post_to = |target: &str| send_to(target, call("danger"));
    let mut open = post("");
    *open.method_mut() = Method::GET;
    let stream = service.clone().oneshot(open).await.unwrap();
    let mut body = Box::pin(stream.into_body());
    let mut context = Context::from_waker(Waker::noop());
    let mut next = move || match body.as_mut().poll_frame(&mut context) {
        Poll::Ready(Some(frame)) => {
            String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap()
        }
        _ => String::new(),
    };
    assert!(next().starts_with("event: endpoint"));
    // Announces nothing.
    assert_eq!(next(), "data: /other?sessionId=2\n\n");

    assert_eq!(
        post_to("/messages?sessionId=1").await.unwrap().status(),
        202
    );
    let event = next();
    assert!(
        event.starts_with("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,"),
        "{event}"
    );
    assert!(event.contains("It is dangerous."), "{event}");

    let safe = call("safe").replace("\"id\":1", "\"id\":\"a\"");
    let batch = format!("[{safe},{}]", call("danger"));
    let answer = send_to("/messages?sessionId=1", batch).await.unwrap();
    assert_eq!(answer.status(), 202);
    let events = next();
    let events: Vec<_> = events.split_terminator("\n\n").collect();
    let begins = |id| format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},");
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].starts_with(&begins("\"a\"")), "{events:?}");
    assert!(events[1].starts_with(&begins("1")), "{events:?}");
    // So do the answers to what is no message, if it can be told to what.
    let broken = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#;
    let answer = send_to("/messages?sessionId=1", broken.to_owned())
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    let event = next();
    assert!(event.starts_with(&begins("1")), "{event}");
    assert!(event.contains("-32602"), "{event}");
    // A notification has no answer, on the stream either.
    let mut note = post(r#"{"jsonrpc":"2.0","method":"notifications/made_up"}"#);
    *note.uri_mut() = "/messages?sessionId=1".parse().unwrap();
    let answer = service.clone().oneshot(note).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(next(), "");

    // Another session's stream is not here: its client only looks at the status.
    assert_eq!(
        post_to("/messages?sessionId=2").await.unwrap().status(),
        400
    );
    assert_eq!(post_to("/messages?x=2").await.unwrap().status(), 200);
    assert_eq!(next(), "");
    drop(next);
    assert_eq!(
        post_to("/messages?sessionId=1").await.unwrap().status(),
        400
    );
}
