use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::collect::Collect;
use super::config::Config;
use super::exchange::{Asked, Exchange};
use super::future::ResponseFuture;
use super::request::{self, Route};
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use crate::mcp::reply::Refusal;

/// Judges the messages of an MCP endpoint before `S` sees them, and filters
/// what `S` answers. Made by [`PolicyLayer`](crate::PolicyLayer).
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
}

impl<S: Clone> PolicyService<S> {
    /// Refuses without a call. The service that was polled ready goes, and a
    /// permit or slot that it may hold with it.
    fn refuse<B, R>(&mut self, asked: &Asked, refusal: &Refusal) -> ResponseFuture<S, B, R>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    {
        self.inner = self.inner.clone();
        ResponseFuture::refused(asked.refuse(refusal))
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
        let (mut head, body) = request.into_parts();
        let asked = request::unread(&head);
        match request::route(&self.config, &head) {
            Err(refusal) => self.refuse(&asked, &refusal),
            Ok(Route::Around) => {
                let request = Request::from_parts(head, RequestBody::untouched(body));
                ResponseFuture::around(self.inner.call(request))
            }
            Ok(Route::Pass) => {
                let judged = self.config.caller(&head).and_then(|caller| {
                    request::check_session(&self.config, &head, asked.era, &caller)?;
                    self.config.judge_for(&caller)
                });
                let judge = match judged {
                    Ok(judge) => judge,
                    Err(refusal) => return self.refuse(&asked, &refusal),
                };
                request::prepare(&mut head, None, &asked);
                // A body would go on unread, and neither method has one.
                let request = Request::from_parts(head, RequestBody::empty());
                let exchange = Exchange {
                    config: Arc::clone(&self.config),
                    judge,
                    asked,
                };
                ResponseFuture::calling(self.inner.call(request), exchange)
            }
            Ok(Route::Judge) => {
                let config = Arc::clone(&self.config);
                let collect = Collect::new(body, config.max_body_size, &config.requests);
                // The clone may not be ready; the service that is goes with the
                // request.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                ResponseFuture::reading(collect, head, ready, config)
            }
        }
    }
}
