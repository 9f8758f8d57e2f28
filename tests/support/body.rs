//! Bodies that arrive as a script says.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// One poll of a body.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Nothing yet, but soon.
    Wait,
    /// Nothing, and nothing will come.
    Hang,
    Data(Bytes),
    Trailers(HeaderMap),
    Break,
}

/// A body that arrives as a script says.
#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    announced: Option<u64>,
    token: Arc<Token>,
}

#[derive(Debug, Default)]
struct Token {
    polls: AtomicUsize,
}

/// Shows what has become of a [`Script`].
#[derive(Clone, Debug)]
pub(crate) struct Watch(Weak<Token>);

impl Watch {
    pub(crate) fn is_dropped(&self) -> bool {
        self.0.strong_count() == 0
    }

    pub(crate) fn polls(&self) -> usize {
        let token = self.0.upgrade();
        token.map_or(0, |token| token.polls.load(Ordering::SeqCst))
    }
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            announced: None,
            token: Arc::default(),
        }
    }

    /// A wait before every chunk, and before the end.
    pub(crate) fn slow<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let steps = chunks
            .into_iter()
            .flat_map(|chunk| [Step::Wait, Step::Data(Bytes::copy_from_slice(chunk))]);
        Self::new(steps.chain([Step::Wait]))
    }

    /// What a `content-length` would have announced.
    pub(crate) fn announcing(mut self, bytes: u64) -> Self {
        self.announced = Some(bytes);
        self
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::downgrade(&self.token))
    }
}

/// The peer has gone away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.token.polls.fetch_add(1, Ordering::SeqCst);
        match self.steps.pop_front() {
            Some(Step::Wait) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Hang) => {
                self.steps.push_front(Step::Hang);
                Poll::Pending
            }
            Some(Step::Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Break) => Poll::Ready(Some(Err(Broken))),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
