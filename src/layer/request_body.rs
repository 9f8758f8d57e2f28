use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// The body of a request that a [`PolicyService`](crate::PolicyService) lets
/// through: the very bytes that were judged, without what a client
/// [brings back](crate::docs::approvals#what-a-client-brings-back) for the policy
/// alone.
///
/// Inner services that are generic over their request body take it as it is.
/// One that is written for a single body type names this type around it, or
/// gets `tower_http::map_request_body::MapRequestBodyLayer` in front.
#[pin_project]
pub struct RequestBody<B> {
    #[pin]
    inner: Inner<B>,
}

#[pin_project(project = InnerProject)]
enum Inner<B> {
    Judged(Option<Bytes>),
    /// From a path that is not guarded.
    Untouched(#[pin] B),
}

impl<B> RequestBody<B> {
    pub(super) fn judged(bytes: Bytes) -> Self {
        Self {
            inner: Inner::Judged(Some(bytes).filter(|bytes| !bytes.is_empty())),
        }
    }

    pub(super) fn untouched(body: B) -> Self {
        Self {
            inner: Inner::Untouched(body),
        }
    }
}

/// As a layer passes these bytes on: for a test of a service that names this type.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt as _, Full};
/// use mcp_policy::RequestBody;
///
/// let body = RequestBody::<Full<Bytes>>::from(Bytes::from("{}"));
/// # futures::executor::block_on(async {
/// assert_eq!(body.collect().await.unwrap().to_bytes(), "{}");
/// # });
/// ```
impl<B> From<Bytes> for RequestBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::judged(bytes)
    }
}

/// Empty.
impl<B> Default for RequestBody<B> {
    fn default() -> Self {
        Self::judged(Bytes::new())
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().inner.project() {
            InnerProject::Judged(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            InnerProject::Untouched(body) => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Judged(bytes) => bytes.is_none(),
            Inner::Untouched(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Judged(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Inner::Untouched(body) => body.size_hint(),
        }
    }
}

/// What is in it is nobody else's business.
impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}
