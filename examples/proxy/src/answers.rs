//! What answers callers.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use tower::{BoxError, Service};

/// A service that answers every request with such a body, whatever happens; clones are the
/// same service.
pub(crate) trait Answers<Q>:
    Service<
        Request<Q>,
        Response = Response<<Self as Answers<Q>>::Body>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
    /// What it answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, Q, B> Answers<Q> for S
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}
