//! The library as a whole, driven without a runtime.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::executor::block_on;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use mcp_policy::{Policy, PolicyLayer, RequestBody};
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;

/// The policies of this text, which is one of ours.
pub fn policy(text: &str) -> Policy {
    text.parse().expect("a policy of our own")
}

/// A body in these pieces.
#[derive(Debug)]
pub struct Pieces(std::vec::IntoIter<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// What the server behind the layer is sent of a request; `None` if it is not.
pub fn sent(layer: &PolicyLayer, request: Request<Full<Bytes>>) -> Option<Bytes> {
    let seen = Arc::new(Mutex::new(None));
    let see = Arc::clone(&seen);
    let service = layer.layer(service_fn(move |request: Request<RequestBody<_>>| {
        let see = Arc::clone(&see);
        async move {
            let body = request.into_body().collect().await;
            let body = body.expect("the body of a request in memory").to_bytes();
            *see.lock().expect("no lock is poisoned") = Some(body);
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    }));
    let _ = block_on(service.oneshot(request));
    seen.lock().expect("no lock is poisoned").take()
}

/// What a client is sent of an event stream that the server answers a GET or a
/// `tools/list` with.
pub fn shown(layer: &PolicyLayer, get: bool, stream: Vec<Bytes>) -> Vec<u8> {
    let stream = Arc::new(Mutex::new(Some(stream)));
    let service = layer.layer(service_fn(move |_: Request<RequestBody<_>>| {
        let stream = stream.lock().expect("no lock is poisoned").take();
        let mut response = Response::new(Pieces(stream.unwrap_or_default().into_iter()));
        let media_type = HeaderValue::from_static("text/event-stream");
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        async move { Ok::<_, Infallible>(response) }
    }));
    let request = if get {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        request
    } else {
        post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
    };
    let collected = async {
        let Ok(response) = service.oneshot(request).await;
        let Ok(body) = response.into_body().collect().await;
        body.to_bytes().to_vec()
    };
    block_on(collected)
}

/// A request with this body.
pub fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.into()));
    *request.method_mut() = Method::POST;
    let media_type = HeaderValue::from_static("application/json");
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    request
}

/// Cuts a text into pieces, as long as the first bytes of `cuts` say in turn.
pub fn cut(text: &[u8], cuts: &[u8]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut rest = text;
    for length in cuts.iter().cycle() {
        if rest.is_empty() || cuts.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(usize::from(*length % 32).clamp(1, rest.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Bytes::copy_from_slice(rest));
    }
    pieces
}
