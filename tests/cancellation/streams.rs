//! Streams that say where to POST: what is remembered of one goes with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::{Method, Request, StatusCode};
use http_body::Body;
use tokio_test::assert_pending;
use tokio_test::task::spawn;
use tower::{Layer, Service};

use super::support::body::Script;
use super::support::net::post_message;
use super::support::{call, guard};
use super::{Slow, chunks, finish};

const STREAM: &str = concat!(
    ": hello\n\nevent: endpoint\ndata: /messages?sessionId=1\n\n",
    "event: endpoint\ndata: /messages?sessionId=2\n\ndata: {}\n\n",
);

fn open() -> Request<Script> {
    let mut request = post_message("http://localhost/sse", &call("read")).map(|_| Script::new([]));
    *request.method_mut() = Method::GET;
    request
}

/// The status of a refused call that is POSTed to an address: 202 if there is a
/// stream here that hears the refusal, 400 if there is none.
fn refused<S, R>(service: &mut S, session: u32) -> StatusCode
where
    S: Service<Request<Script>, Response = http::Response<R>>,
    S::Error: std::fmt::Debug,
{
    let url = format!("http://localhost/messages?sessionId={session}");
    let text = call("write").to_string();
    let request = post_message(&url, &call("write")).map(|_| Script::slow([text.as_bytes()]));
    finish(service.call(request)).0.unwrap().status()
}

#[test]
fn what_a_stream_announced_is_forgotten_with_it() {
    let slow = Slow {
        chunks: chunks(STREAM, 9),
        ..Slow::events()
    };
    let seen = Arc::clone(&slow.seen);
    let mut service = guard().layer(slow);
    let mut heard = [0, 0];
    for k in 0.. {
        let (response, _) = finish(service.call(open()));
        let mut body = response.unwrap().into_body();
        let mut ended = false;
        for _ in 0..k {
            let mut frame = spawn(std::future::poll_fn(|context| {
                Pin::new(&mut body).poll_frame(context)
            }));
            ended |= matches!(frame.poll(), Poll::Ready(None));
        }
        let open = [refused(&mut service, 1), refused(&mut service, 2)];
        for (heard, status) in heard.iter_mut().zip(open) {
            match status {
                StatusCode::ACCEPTED => *heard += 1,
                other => assert_eq!(other, StatusCode::BAD_REQUEST),
            }
        }
        // The second takes the place of the first.
        assert_ne!(open, [StatusCode::ACCEPTED; 2]);
        drop(body);
        assert!(seen.is_idle(), "after {k} polls");
        for session in [1, 2] {
            let status = refused(&mut service, session);
            assert_eq!(status, StatusCode::BAD_REQUEST, "after {k} polls");
        }
        if ended {
            break;
        }
        assert!(k < super::MANY, "it does not end");
    }
    assert!(heard[0] > 1 && heard[1] > 1, "{heard:?}");
}

/// Dropped before there is a stream: nothing was announced, nothing is kept.
#[test]
fn a_stream_that_never_opened_announced_nothing() {
    let slow = Slow {
        chunks: chunks(STREAM, 9),
        ..Slow::events()
    };
    let seen = Arc::clone(&slow.seen);
    let mut service = guard().layer(slow);
    let (response, polls) = finish(service.call(open()));
    drop(response);
    for k in 0..=polls {
        let mut future = spawn(service.call(open()));
        for _ in 0..k {
            assert_pending!(future.poll());
        }
        drop(future);
        assert!(seen.is_idle());
        assert_eq!(refused(&mut service, 1), StatusCode::BAD_REQUEST);
    }
}
