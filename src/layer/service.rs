use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::candidate::Candidate;
use super::collect::Collect;
use super::config::Config;
use super::future::ResponseFuture;
use super::request::{self, Route};
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use crate::engine::{Arrival, ClientStream};

/// Judges the messages of an MCP endpoint before `S` sees them, and filters
/// what `S` answers. Made by [`PolicyLayer`](crate::PolicyLayer).
///
/// `S` is a service of HTTP that can be cloned: from a `Request<RequestBody<B>>`, where `B` is
/// the body that the server in front makes, to a `Response<R>`. Both bodies are of [`Bytes`].
/// What the compiler says where that is not so is on [the page about
/// layers](crate::docs::layers).
///
/// # Readiness
///
/// [`poll_ready`](Service::poll_ready) is that of `S`. While a body is being
/// read, the inner service that was polled ready is kept, and with it a
/// permit or slot that it may hold. A `ConcurrencyLimit` therefore belongs
/// above this service, not below, if slow uploads must not use it up.
///
/// # Errors
///
/// Only those of `S`. Every refusal is a response.
#[derive(Clone, Debug)]
pub struct PolicyService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> PolicyService<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service. What it is sent directly is not judged.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the policy.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Whether anything is ever asked of a client whose call waits.
    pub(super) fn may_ask(&self) -> bool {
        self.config.engine.has_approvals()
    }
}

// ===== impl Service =====

impl<S, B, R> Service<Request<B>> for PolicyService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.call_beside(request, None)
    }
}

impl<S> PolicyService<S> {
    /// The same for a client that can be asked beside its answer.
    pub(super) fn call_beside<B, R>(
        &mut self,
        request: Request<B>,
        stream: Option<ClientStream>,
    ) -> ResponseFuture<S, B, R>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
        B: Body<Data = Bytes>,
        R: Body<Data = Bytes>,
    {
        let arrival = Arrival::now();
        let (head, body) = request.into_parts();
        let route = request::route(&self.config, &head);
        if let Ok(Route::Around) = route {
            let request = Request::from_parts(head, RequestBody::untouched(body));
            return ResponseFuture::around(self.inner.call(request));
        }
        // The clone may not be ready; the service that is goes with the request,
        // and with it a permit or slot that it may hold.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let candidate = Candidate {
            patience: None,
            stream,
            head,
            inner: ready,
            sessions: self.config.engine.sessions(),
            config: Arc::clone(&self.config),
            arrival,
        };
        match route {
            Err(refusal) => ResponseFuture::refused(candidate, refusal),
            Ok(Route::Pass | Route::Around) => ResponseFuture::without_body(candidate),
            Ok(Route::Judge) => {
                let Config {
                    max_body_size,
                    requests,
                    ..
                } = &*self.config;
                let collect = Collect::new(body, *max_body_size, requests);
                ResponseFuture::reading(collect, candidate)
            }
        }
    }
}
