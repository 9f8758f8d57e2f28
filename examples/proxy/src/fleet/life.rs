//! Ends the streams of what is gone: of a grant that is revoked, of a token that has
//! expired, and of a server that is no longer served. Answers that are no streams still arrive.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use tower::BoxError;

use super::guarded::Body;

/// As long as something is there; clones share it.
#[derive(Clone)]
pub(super) struct Life(Arc<watch::Sender<bool>>);

impl Life {
    pub(super) fn begin() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(super) fn end(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Lets an answer, if it is a stream, last no longer than this.
    pub(super) fn bounds(&self, response: Response<Body>) -> Response<Body> {
        if !is_stream(&response) {
            return response;
        }
        let mut ended = self.0.subscribe();
        bounded(response, async move {
            // Nobody is left who could say so: then it is over, too.
            let _ = ended.wait_for(|ended| *ended).await;
        })
    }
}

/// Lets an answer, if it is a stream, last no longer than this.
pub(super) fn lasting(time: Duration, response: Response<Body>) -> Response<Body> {
    match is_stream(&response) {
        true => bounded(response, tokio::time::sleep(time)),
        false => response,
    }
}

fn bounded(
    response: Response<Body>,
    over: impl Future<Output = ()> + Send + 'static,
) -> Response<Body> {
    let over = Box::pin(over);
    response.map(|body| Bounded { body, over }.boxed_unsync())
}

fn is_stream(response: &Response<Body>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.map(HeaderValue::as_bytes)
        .is_some_and(|kind| kind.starts_with(b"text/event-stream"))
}

struct Bounded {
    body: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.over.as_mut().poll(context).is_ready() {
            // Until it is dropped, which is soon.
            self.over = Box::pin(std::future::ready(()));
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
