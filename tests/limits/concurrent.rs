//! How many calls are under way at once.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::channel::oneshot;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use mcp_policy::{MayStillRun, PolicyLayer, ResponseBody};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::server::{Body, OK};
use crate::support::clock::ManualClock;
use crate::{Never, ToServer, by, json, layer, meta, passes, policy, run, send};

fn two_at_once() -> (PolicyLayer, ManualClock) {
    layer(&policy(r#"{ "max_concurrent": { "max": 2 } }"#))
}

type Calling = Pin<Box<dyn Future<Output = Result<Response<ResponseBody<Body>>, Never>>>>;

/// A call that the server answers when it is told to.
fn call(layer: &PolicyLayer) -> (Calling, oneshot::Sender<Response<Body>>) {
    let (answer, answered) = oneshot::channel();
    let answered = Arc::new(Mutex::new(Some(answered)));
    let server = service_fn(move |_: ToServer| {
        let answered = answered.lock().unwrap().take().unwrap();
        async move { Ok::<_, Never>(answered.await.unwrap()) }
    });
    let mut calling: Calling = Box::pin(layer.layer(server).oneshot(by(run("{}"), "alice")));
    assert!(poll(&mut calling).is_pending(), "it is under way");
    (calling, answer)
}

fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

fn events(pieces: &[&str]) -> Response<Body> {
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(crate::server::pieces(pieces))
        .unwrap()
}

async fn one_more(layer: &PolicyLayer) -> bool {
    passes(layer, by(run("{}"), "alice")).await
}

#[tokio::test]
async fn a_third_call_waits_until_one_has_ended() {
    let (layer, _) = two_at_once();
    let (first, answer) = call(&layer);
    let (_second, _) = call(&layer);
    let (received, refused) = send(&layer, by(run("{}"), "alice")).await;
    assert!(received.is_none());
    assert_eq!(
        meta(&refused),
        ("/tools/run/max_concurrent".to_owned(), None)
    );
    let text = refused.tool_error();
    assert!(
        text.contains(
            "No more than 2 may be under way at once. Try again when another call has ended."
        ),
        "{text}"
    );
    assert!(passes(&layer, by(run("{}"), "bob")).await);
    answer.send(json(OK)).unwrap();
    first.await.unwrap();
    // Each of these ends before the next begins.
    for _ in 0..5 {
        assert!(one_more(&layer).await);
    }
}

#[tokio::test]
async fn a_stream_counts_until_it_ends() {
    let (layer, clock) = two_at_once();
    let (first, answer) = call(&layer);
    let (_second, _) = call(&layer);
    let event = format!("data: {OK}\n\n");
    answer.send(events(&[&event])).unwrap();
    let mut body = first.await.unwrap().into_body();
    assert!(!one_more(&layer).await);
    assert!(body.frame().await.is_some());
    assert!(!one_more(&layer).await);
    assert!(body.frame().await.is_none());
    assert!(one_more(&layer).await);
    // An answer that comes on another stream is still under way.
    let (third, answer) = call(&layer);
    answer.send(events(&[": only a comment\n\n"])).unwrap();
    third.await.unwrap().into_body().collect().await.unwrap();
    assert!(!one_more(&layer).await);
    clock.advance_secs(60);
    assert!(one_more(&layer).await);
}

/// For as long as a server may work on after nobody waits.
#[tokio::test]
async fn what_breaks_off_counts_for_a_minute() {
    let accepted = |text: &str| {
        let mut answer = json(text);
        *answer.status_mut() = StatusCode::ACCEPTED;
        Some(answer)
    };
    let gateway = |status| {
        let mut answer = json(r#"{"error":"no answer in time"}"#);
        *answer.status_mut() = status;
        Some(answer)
    };
    let mut cancelled = json(OK);
    cancelled.extensions_mut().insert(MayStillRun);
    let ends: [(&str, Option<Response<Body>>); 7] = [
        ("a gateway had enough", gateway(StatusCode::GATEWAY_TIMEOUT)),
        (
            "a gateway lost the server",
            gateway(StatusCode::BAD_GATEWAY),
        ),
        ("whoever carries it says so", Some(cancelled)),
        ("nobody waits", None),
        ("the answer is too large", Some(json(&" ".repeat(2_000)))),
        ("the answer comes elsewhere", accepted("")),
        ("as some servers of 2024-11-05 say it", accepted("Accepted")),
    ];
    for (why, answered) in ends {
        let (layer, clock) = two_at_once();
        let layer = layer.max_response_size(1_000);
        let (first, answer) = call(&layer);
        let (_second, _) = call(&layer);
        match answered {
            None => drop(first),
            Some(answered) => {
                answer.send(answered).unwrap();
                first.await.unwrap();
            }
        }
        assert!(!one_more(&layer).await, "{why}");
        clock.advance_secs(59);
        assert!(!one_more(&layer).await, "{why}");
        clock.advance_secs(1);
        assert!(one_more(&layer).await, "{why}");
    }
}

#[tokio::test]
async fn what_is_refused_for_something_else_takes_no_place() {
    let (layer, _) = layer(&policy(
        r#"{ "max_concurrent": { "max": 1 }, "rate_limit": "2/minute" }"#,
    ));
    let (first, answer) = call(&layer);
    for _ in 0..5 {
        assert!(!one_more(&layer).await);
    }
    answer.send(json(OK)).unwrap();
    first.await.unwrap();
    // Nor was any of them counted by the other limit.
    assert!(one_more(&layer).await);
    let (_, refused) = send(&layer, by(run("{}"), "alice")).await;
    assert_eq!(meta(&refused).0, "/tools/run/limits/rate");
}
