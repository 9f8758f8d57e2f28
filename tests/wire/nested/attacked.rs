//! What a hostile reviewer tried on clients that are asked on the answer to their own call.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;
use crate::server::ALLOW_ALL;

/// Bytes of one event of the server's.
const EVENT: usize = 64 << 10;

/// Such an answer is taken for one that was held whole before, which it was not.
#[tokio::test]
async fn an_event_stream_with_an_error_status_is_not_collected_without_bound() {
    let guarded = guarded();
    drop(asked(&guarded).await);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let guarded = guarded.answering(move || {
        let taken = Arc::clone(&counted);
        let text = "x".repeat(EVENT);
        let event = format!(
            "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{{\"x\":\"{text}\"}}}}\n\n"
        );
        let event = Bytes::from(event);
        let frames = (0..2_000).map(move |_| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(event.clone()))
        });
        let answer = Response::builder()
            .status(500)
            .header("content-type", "text/event-stream");
        let body = StreamBody::new(stream::iter(frames));
        answer.body(BodyExt::boxed(body)).unwrap()
    });
    let mut reading = guarded.sends("alice", in_session(&call("own"), "s1")).await;
    let question = reading.next().await.unwrap();
    let allow = in_session(&response(&question, allowed()), "s1");
    guarded.sends("alice", allow).await;
    let _ = reading.body.frame().await;
    let held = taken.load(Ordering::Relaxed) * EVENT;
    assert!(held <= 16 << 20, "{held} bytes are held of one answer");
}

/// The outer layer takes the answer to the inner one's question for a bad one to its own.
#[tokio::test]
async fn what_an_inner_layer_asks_can_be_answered_through_an_outer_one() {
    let guarded = guarded();
    let outer = PolicyLayer::new(ALLOW_ALL.parse().unwrap());
    let sends = async |body: &Value| {
        let mut request = in_session(body, "s1");
        request.extensions_mut().insert(Caller::new("alice"));
        let server = service_fn(|_: Request<RequestBody<RequestBody<Body>>>| async {
            Ok::<_, Infallible>(json_answer())
        });
        let service = outer.layer(guarded.layer.layer(server));
        let answer = service.oneshot(request).await.unwrap();
        let kind = answer.headers().get("content-type");
        Reading {
            status: answer.status(),
            is_events: kind.is_some_and(|kind| kind == "text/event-stream"),
            body: BodyExt::boxed_unsync(answer.into_body()),
        }
    };
    let begin = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "clientInfo": {"name": "c", "version": "1"},
        "capabilities": {"elicitation": {}}}});
    let mut begun = post(begin.to_string());
    begun.extensions_mut().insert(Caller::new("alice"));
    let server = service_fn(|_: Request<RequestBody<RequestBody<Body>>>| async {
        Ok::<_, Infallible>(json_answer())
    });
    let service = outer.layer(guarded.layer.layer(server));
    let answer = service.oneshot(begun).await.unwrap();
    let _ = answer.into_body().collect().await;

    let mut reading = sends(&call("own")).await;
    let question = reading.next().await.unwrap();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    let heard = sends(&response(&question, allowed())).await;
    assert_eq!(heard.status, StatusCode::ACCEPTED);
    assert_eq!(reading.next().await.unwrap()["id"], 1);
}
