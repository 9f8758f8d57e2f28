//! Calls whose clients are asked something while they wait: for that, the answer has to
//! begin before it is known.

mod body;
mod future;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

pub use body::HeldBody;
pub use future::HeldFuture;

use super::layer::PolicyLayer;
use super::request_body::RequestBody;
use super::service::PolicyService;
use crate::engine::ClientStream;

/// A [`PolicyLayer`] that can ask the client of 2025-06-18 or 2025-11-25 whether a call
/// may be made that the policy lets it approve by itself (`"approver": "caller"`). Made by
/// [`PolicyLayer::with_held_streams`].
///
/// If a call waits for that, its answer begins at once, as an event stream on which the
/// client is asked; what the server answers then comes on the same stream, without the
/// headers that the server gave it, and as an error if it was one. Everything else is as
/// with a [`PolicyLayer`].
///
/// The services that it makes need more of the service behind them: it and its futures
/// have to be [`Send`] and `'static`.
#[derive(Clone, Debug)]
pub struct HeldStreamsLayer {
    inner: PolicyLayer,
}

impl HeldStreamsLayer {
    pub(super) fn new(inner: PolicyLayer) -> Self {
        Self { inner }
    }
}

impl<S> Layer<S> for HeldStreamsLayer {
    type Service = HeldStreamsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HeldStreamsService {
            inner: self.inner.layer(inner),
        }
    }
}

/// A [`PolicyService`] whose answers can begin before they are known. Made by
/// [`HeldStreamsLayer`].
#[derive(Clone, Debug)]
pub struct HeldStreamsService<S> {
    inner: PolicyService<S>,
}

impl<S> HeldStreamsService<S> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }

    /// The inner service. What it is sent directly is not judged.
    pub fn get_mut(&mut self) -> &mut S {
        self.inner.get_mut()
    }

    /// The inner service, without the policy.
    pub fn into_inner(self) -> S {
        self.inner.into_inner()
    }
}

impl<S, B, R> Service<Request<B>> for HeldStreamsService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<HeldBody<R, S::Error>>;
    type Error = S::Error;
    type Future = HeldFuture<R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let may_be_asked = self.inner.may_ask() && request.method() == Method::POST;
        let stream = (may_be_asked && takes_events(&request)).then(ClientStream::default);
        let answering = self.inner.call_beside(request, stream.clone());
        HeldFuture::new(Box::pin(answering), stream)
    }
}

/// Whether a client says that it can read an event stream.
fn takes_events<B>(request: &Request<B>) -> bool {
    let mut accepted = request.headers().get_all(ACCEPT).iter();
    accepted.any(|value| value == AS_CLIENTS_SAY || names_events(value))
}

/// What the protocol has clients accept, as nearly all write it.
const AS_CLIENTS_SAY: &str = "application/json, text/event-stream";

fn names_events(accepted: &HeaderValue) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let mut parts = accepted.as_bytes().windows(EVENTS.len());
    accepted.to_str().is_ok() && parts.any(|part| part.eq_ignore_ascii_case(EVENTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_takes_events_however_it_writes_that() {
        let takes = |accepted: &[&'static [u8]]| {
            let request = accepted
                .iter()
                .fold(Request::post("/mcp"), |request, value| {
                    request.header(ACCEPT, *value)
                });
            takes_events(&request.body(()).unwrap())
        };
        assert!(takes(&[AS_CLIENTS_SAY.as_bytes()]));
        assert!(takes(&[b"Text/Event-Stream;q=1"]));
        assert!(takes(&[b"application/json", b"text/event-stream"]));
        assert!(!takes(&[]));
        assert!(!takes(&[b"application/json", b"text/event-strea"]));
        assert!(!takes(&[b"text/event-stream, \xff"]));
    }
}
