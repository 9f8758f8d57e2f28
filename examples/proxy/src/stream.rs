//! Streams of events that end before whoever answers ends them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use hyper::body::{Body, Frame, SizeHint};

/// Whether an answer is a stream of events.
pub(crate) fn is_stream<B>(response: &Response<B>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.map(HeaderValue::as_bytes)
        .is_some_and(|kind| kind.starts_with(b"text/event-stream"))
}

/// Whether a request is for a stream that goes on for ever, because no answer is due on it.
/// Who lies in the header ends nothing but what is answered to this request.
pub(crate) fn only_listens<B>(request: &Request<B>) -> bool {
    const METHOD: HeaderName = HeaderName::from_static("mcp-method");
    let says = |method: &HeaderValue| method == "subscriptions/listen";
    request.method() == Method::GET || request.headers().get(METHOD).is_some_and(says)
}

/// A body that ends once something is over, as if nothing more were to come.
pub(crate) struct Bounded<B> {
    body: Pin<Box<B>>,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<B> Bounded<B> {
    pub(crate) fn by(over: impl Future<Output = ()> + Send + 'static, body: B) -> Self {
        Self {
            body: Box::pin(body),
            over: Box::pin(over),
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Bounded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.over.as_mut().poll(context).is_ready() {
            // Until it is dropped, which is soon.
            self.over = Box::pin(std::future::ready(()));
            return Poll::Ready(None);
        }
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
