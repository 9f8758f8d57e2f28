use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::events::Events;

/// The body of a response from a [`PolicyService`](crate::PolicyService).
///
/// It can be made [from bytes](From) and be [empty](Default), so that layers
/// above which answer by themselves, like CORS, timeouts or authorization, can
/// build it.
#[pin_project]
pub struct ResponseBody<R> {
    #[pin]
    inner: Inner<R>,
}

#[pin_project(project = InnerProject)]
enum Inner<R> {
    Whole(Option<Bytes>),
    Events(Box<Events>, #[pin] Option<R>),
    /// From a path that is not guarded.
    Untouched(#[pin] R),
}

impl<R> ResponseBody<R> {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            inner: Inner::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())),
        }
    }

    pub(super) fn events(events: Events, body: R) -> Self {
        Self {
            inner: Inner::Events(Box::new(events), Some(body)),
        }
    }

    pub(super) fn untouched(body: R) -> Self {
        Self {
            inner: Inner::Untouched(body),
        }
    }
}

impl<R> Default for ResponseBody<R> {
    fn default() -> Self {
        Self::whole(Bytes::new())
    }
}

impl<R> From<Bytes> for ResponseBody<R> {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

impl<R: Body<Data = Bytes>> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().inner.project() {
            InnerProject::Whole(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            InnerProject::Events(events, body) => events.poll(body, context),
            InnerProject::Untouched(body) => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole(bytes) => bytes.is_none(),
            // More may be held than the inner body still has.
            Inner::Events(..) => false,
            Inner::Untouched(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Inner::Events(..) => SizeHint::default(),
            Inner::Untouched(body) => body.size_hint(),
        }
    }
}

/// What is in it is nobody else's business.
impl<R> fmt::Debug for ResponseBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}
