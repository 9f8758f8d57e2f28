use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::future::Answering;
use crate::engine::Question;
use crate::layer::response_body::ResponseBody;
use crate::mcp::message::Id;
use crate::mcp::recover::{self, Unread};
use crate::mcp::reply::{self, Refusal};
use crate::mcp::sse;
use crate::mcp::version::Era;

/// The body of a response from a [`HeldStreamsService`](super::HeldStreamsService).
///
/// It can be made [from bytes](From) and be [empty](Default), as a
/// [`ResponseBody`](crate::ResponseBody) can.
#[pin_project]
pub struct HeldBody<R, E> {
    #[pin]
    state: State<R, E>,
}

#[pin_project(project = StateProject)]
enum State<R, E> {
    /// It is passed on as it is.
    Passing(#[pin] ResponseBody<R>),
    /// The client is asked, and then it is waited for the answer.
    Asking(Option<Bytes>, Waiting<R, E>),
    /// The answer is no event stream, and becomes one event.
    Collecting(BytesMut, Call, #[pin] ResponseBody<R>),
    /// The last event.
    Last(Option<Bytes>),
}

/// A call whose answer has begun.
struct Waiting<R, E> {
    call: Call,
    answering: Answering<R, E>,
}

/// The id of a call, and how the server answered it.
#[derive(Clone)]
struct Call {
    id: Arc<[u8]>,
    status: StatusCode,
}

impl<R, E> HeldBody<R, E> {
    pub(super) fn plain(body: ResponseBody<R>) -> Self {
        Self {
            state: State::Passing(body),
        }
    }

    /// The beginning of the answer to the call of this id.
    pub(super) fn begun(question: Question, answering: Answering<R, E>) -> Self {
        let Question { call: id, message } = question;
        let status = StatusCode::OK;
        let call = Call { id, status };
        Self {
            state: State::Asking(Some(sse::event(&message)), Waiting { call, answering }),
        }
    }
}

impl<R, E> Default for HeldBody<R, E> {
    fn default() -> Self {
        Self::plain(ResponseBody::default())
    }
}

impl<R, E> From<Bytes> for HeldBody<R, E> {
    fn from(bytes: Bytes) -> Self {
        Self::plain(bytes.into())
    }
}

impl<R: Body<Data = Bytes>, E> Body for HeldBody<R, E> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProject::Passing(body) => return body.poll_frame(context),
                StateProject::Asking(question, waiting) => {
                    if let Some(question) = question.take() {
                        return Poll::Ready(Some(Ok(Frame::data(question))));
                    }
                    let answer = ready!(waiting.answering.as_mut().poll(context));
                    answered(answer, waiting.call.clone())
                }
                StateProject::Collecting(collected, call, body) => {
                    match ready!(body.poll_frame(context)) {
                        Some(Ok(frame)) => {
                            // It was held whole before, so that it is not too large.
                            if let Ok(bytes) = frame.into_data() {
                                collected.extend_from_slice(&bytes);
                            }
                            continue;
                        }
                        Some(Err(error)) => {
                            let error = Poll::Ready(Some(Err(error)));
                            state.set(State::Last(None));
                            return error;
                        }
                        None => State::Last(Some(call.event(collected))),
                    }
                }
                StateProject::Last(event) => {
                    return Poll::Ready(event.take().map(|event| Ok(Frame::data(event))));
                }
            };
            state.set(next);
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Passing(body) => body.is_end_stream(),
            State::Asking(..) | State::Collecting(..) => false,
            State::Last(event) => event.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Passing(body) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

/// How the answer goes on.
fn answered<R, E>(answer: Result<Response<ResponseBody<R>>, E>, call: Call) -> State<R, E> {
    let Ok(answer) = answer else {
        // The client cannot be told more, and nobody else sees the error.
        tracing::warn!(target: "mcp_policy", "the service behind a call that was held has failed");
        return State::Last(Some(call.failed("The server did not answer.")));
    };
    let (head, body) = answer.into_parts();
    let status = head.status;
    let kind = head.headers.get(CONTENT_TYPE);
    let is_events = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    match (is_events, status.is_success()) {
        (true, true) => State::Passing(body),
        // No other kind of body is not held whole, and so bounded.
        (true, false) => State::Last(Some(Call { status, ..call }.failed_with_status())),
        (false, _) => State::Collecting(BytesMut::new(), Call { status, ..call }, body),
    }
}

impl Call {
    /// The event that tells what the server answered.
    fn event(&self, answer: &[u8]) -> Bytes {
        let is_answer = match recover::server_message(answer) {
            Unread::Answer(id) => {
                Id::from_raw(&self.id).is_some_and(|own| own.is_echoed_by(id.raw()))
            }
            Unread::Call | Unread::Unknown => false,
        };
        if is_answer {
            // A line end in it means no more than a space does.
            let on_one_line = answer.iter().map(|byte| match byte {
                b'\r' | b'\n' => b' ',
                other => *other,
            });
            return sse::event(&on_one_line.collect::<Vec<u8>>());
        }
        self.failed_with_status()
    }

    fn failed_with_status(&self) -> Bytes {
        self.failed(&format!(
            "The server answered with the HTTP status {}.",
            self.status.as_u16()
        ))
    }

    fn failed(&self, what: &str) -> Bytes {
        let refusal = Refusal::BadAnswer {
            text: format!("{what} The call may have been made; do not repeat it blindly."),
        };
        let asked = reply::Asked {
            era: Era::Legacy,
            id: Id::from_raw(&self.id),
        };
        sse::event(&reply::reply(&refusal, asked).body)
    }
}

/// What is in it is nobody else's business.
impl<R, E> fmt::Debug for HeldBody<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBody").finish_non_exhaustive()
    }
}
