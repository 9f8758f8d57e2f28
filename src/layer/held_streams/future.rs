use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::body::HeldBody;
use crate::engine::ClientStream;
use crate::layer::response_body::ResponseBody;

/// What a policy service will answer.
pub(super) type Answering<R, E> =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody<R>>, E>> + Send>>;

/// The future of a [`HeldStreamsService`](super::HeldStreamsService).
///
/// Dropping it, or the body that it gave, drops the inner call if there is one by then.
pub struct HeldFuture<R, E> {
    /// `None` once there is an answer, or its beginning.
    answering: Option<Answering<R, E>>,
    stream: Option<ClientStream>,
}

impl<R, E> HeldFuture<R, E> {
    pub(super) fn new(answering: Answering<R, E>, stream: Option<ClientStream>) -> Self {
        Self {
            answering: Some(answering),
            stream,
        }
    }
}

impl<R, E> Future for HeldFuture<R, E> {
    type Output = Result<Response<HeldBody<R, E>>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answering) = &mut self.answering else {
            return Poll::Pending;
        };
        if let Poll::Ready(answer) = answering.as_mut().poll(context) {
            self.answering = None;
            return Poll::Ready(answer.map(|answer| answer.map(HeldBody::plain)));
        }
        let question = self.stream.as_ref().and_then(ClientStream::take);
        match (question, self.answering.take()) {
            (Some(question), Some(answering)) => {
                Poll::Ready(Ok(begun(HeldBody::begun(question, answering))))
            }
            (_, answering) => {
                self.answering = answering;
                Poll::Pending
            }
        }
    }
}

/// The beginning of an answer that is not known yet.
fn begun<R, E>(body: HeldBody<R, E>) -> Response<HeldBody<R, E>> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let events = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, events);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl<R, E> fmt::Debug for HeldFuture<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldFuture").finish_non_exhaustive()
    }
}
