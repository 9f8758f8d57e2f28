//! The whole gateway, made of parts that any tower user has.

use std::{convert::Infallible, fmt::Display, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::{Body, Incoming};
use mcp_policy::{PolicyLayer, RequestBody};
use tower::{BoxError, Service, ServiceBuilder};
use tower_http::{
    map_request_body::MapRequestBodyLayer, timeout::RequestBodyDeadlineLayer, trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};
use tracing::Span;

use crate::access::Access;

/// How long a request body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// A request body that arrives in time or breaks off. In a box, because the
/// client needs to be able to move it.
pub(crate) type Timely = UnsyncBoxBody<Bytes, BoxError>;

/// Stacks the layers in front of the server, the first one being the first to
/// see a request.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is the whole response, as tower-http asks for it"
)]
pub(crate) fn gateway<S, R>(
    policy: PolicyLayer,
    access: Access,
    server: S,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static
where
    S: Service<Request<RequestBody<Timely>>, Response = Response<R>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    R: Body<Data = Bytes, Error: Into<BoxError> + Display> + Send + 'static,
{
    let cors = access.cors();
    ServiceBuilder::new()
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span::<Incoming>)
                .on_request(())
                .on_response(answered)
                .on_failure(()),
        )
        .layer(ValidateRequestHeaderLayer::custom(
            move |request: &mut Request<Incoming>| access.admit(request),
        ))
        .option_layer(cors)
        // A body that is announced and never comes would hold its share of the
        // policy layer's memory for ever.
        .layer(RequestBodyDeadlineLayer::new(BODY_DEADLINE))
        .layer(MapRequestBodyLayer::new(BodyExt::boxed_unsync))
        .layer(policy)
        .service(server)
}

/// Only what says nothing about the caller's data: the query is left out, and
/// `?` keeps a path from writing lines of its own into the log.
fn span<B>(request: &Request<B>) -> Span {
    tracing::debug_span!("request", method = %request.method(), path = ?request.uri().path())
}

fn answered<B>(response: &Response<B>, latency: Duration, _: &Span) {
    tracing::debug!(
        status = response.status().as_u16(),
        ms = latency.as_secs_f64() * 1e3,
        "answered"
    );
}
