use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use pin_project::pin_project;

use super::budget::{Budget, Hold};

/// Frames that are read before others get a turn: a body that is always ready
/// must not keep the thread.
const FRAMES_PER_POLL: u32 = 64;
/// Bytes for which there is room at once, because a body says that so many come: more would
/// have to be believed.
const MOST_ROOM: u64 = 64 << 10;

/// Reads a whole body, at most `limit` bytes of it. Trailers are dropped.
#[pin_project(project = CollectProject)]
#[derive(Debug)]
pub(crate) struct Collect<B> {
    #[pin]
    body: B,
    limit: usize,
    hold: Option<Hold>,
    chunks: Chunks,
}

/// What has been read so far. A single chunk, the common case, is not copied.
#[derive(Debug)]
enum Chunks {
    None,
    One(Bytes),
    Many(BytesMut),
}

/// A whole body, and its share of the budget.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    pub(crate) hold: Option<Hold>,
}

impl Collected {
    /// The same share for what has become of the bytes.
    pub(crate) fn replace(mut self, bytes: Vec<u8>) -> Self {
        // Nothing is ever added to an answer but a few digits.
        if let Some(hold) = &mut self.hold {
            let _ = hold.resize(bytes.len());
        }
        Self {
            bytes: bytes.into(),
            hold: self.hold,
        }
    }

    /// Bytes that give their share back when the last of them is dropped,
    /// wherever they went: a slow reader on the other side holds them as much
    /// as we do.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.bytes.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Collected {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body could not be read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CollectError {
    /// It is larger than the limit.
    TooLarge,
    /// Too much is being held already.
    Busy,
    /// It broke off.
    Incomplete,
}

impl<B: Body<Data = Bytes>> Collect<B> {
    pub(crate) fn new(body: B, limit: usize, budget: &Arc<Budget>) -> Self {
        Self {
            body,
            limit,
            hold: Some(budget.hold()),
            chunks: Chunks::None,
        }
    }
}

impl<B> CollectProject<'_, B> {
    /// What has been read, which is all of it.
    fn collected(&mut self) -> Collected {
        Collected {
            bytes: std::mem::replace(self.chunks, Chunks::None).into_bytes(),
            hold: self.hold.take(),
        }
    }
}

impl<B: Body<Data = Bytes>> Future for Collect<B> {
    type Output = Result<Collected, CollectError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // What is announced to be too large need not be read.
        if this.body.size_hint().lower() > *this.limit as u64 {
            return Poll::Ready(Err(CollectError::TooLarge));
        }
        for _ in 0..FRAMES_PER_POLL {
            let chunk = match ready!(this.body.as_mut().poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => chunk,
                    Err(_trailers) => continue,
                },
                Some(Err(_)) => return Poll::Ready(Err(CollectError::Incomplete)),
                None => return Poll::Ready(Ok(this.collected())),
            };
            let length = this.chunks.len().saturating_add(chunk.len());
            if length > *this.limit {
                return Poll::Ready(Err(CollectError::TooLarge));
            }
            if this
                .hold
                .as_mut()
                .is_some_and(|hold| hold.resize(length).is_err())
            {
                return Poll::Ready(Err(CollectError::Busy));
            }
            this.chunks.push(chunk, || this.body.size_hint().lower());
            // Whoever asks again hears only that: of a body that comes over a connection,
            // that takes longer than all the rest here.
            if this.body.is_end_stream() {
                return Poll::Ready(Ok(this.collected()));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Chunks {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(chunk) => chunk.len(),
            Self::Many(buffer) => buffer.len(),
        }
    }

    /// Adds it, before so many bytes that are expected.
    fn push(&mut self, chunk: Bytes, expected: impl FnOnce() -> u64) {
        if chunk.is_empty() {
            return;
        }
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(chunk),
            Self::One(first) => {
                let length = first.len().saturating_add(chunk.len());
                let room = usize::try_from(expected().min(MOST_ROOM)).unwrap_or(length);
                let mut buffer = BytesMut::with_capacity(length.saturating_add(room.max(length)));
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&chunk);
                Self::Many(buffer)
            }
            Self::Many(mut buffer) => {
                buffer.extend_from_slice(&chunk);
                Self::Many(buffer)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Many(buffer) => buffer.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::pin;

    use http_body::{Frame, SizeHint};

    use super::*;

    /// A body in so many parts, which may say that it has ended, and how much is left.
    struct Parts {
        parts: VecDeque<&'static [u8]>,
        says_when_it_ends: bool,
        left: u64,
    }

    impl Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let is_over = self.parts.is_empty();
            assert!(!(is_over && self.says_when_it_ends), "it has said so");
            let part = self.parts.pop_front().map(Bytes::from_static);
            Poll::Ready(part.map(|part| Ok(Frame::data(part))))
        }

        fn is_end_stream(&self) -> bool {
            self.says_when_it_ends && self.parts.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::default();
            hint.set_lower(self.left);
            hint
        }
    }

    #[test]
    fn a_body_is_read_to_its_end_and_not_asked_after_that() {
        let budget = Budget::new(100);
        for says_when_it_ends in [true, false] {
            for parts in [&[&b"ab"[..]][..], &[b"a", b"", b"b"], &[b"a", b"b", b""]] {
                let parts = parts.iter().copied().collect();
                let body = Parts {
                    parts,
                    says_when_it_ends,
                    left: 0,
                };
                let collect = pin!(Collect::new(body, 2, &budget));
                let waker = std::task::Waker::noop();
                let Poll::Ready(collected) = collect.poll(&mut Context::from_waker(waker)) else {
                    panic!("all of it is there");
                };
                assert_eq!(collected.unwrap().bytes, "ab");
            }
        }
    }

    #[test]
    fn there_is_room_for_what_is_expected_but_not_for_all_that_is_said() {
        let most = usize::try_from(MOST_ROOM).unwrap();
        for (left, room) in [
            (0, 2),
            (1, 2),
            (100, 100),
            (MOST_ROOM, most),
            (u64::MAX, most),
        ] {
            let mut chunks = Chunks::None;
            for part in ["a", "b"] {
                chunks.push(Bytes::from_static(part.as_bytes()), || left);
            }
            let Chunks::Many(buffer) = chunks else {
                panic!("there are two");
            };
            assert_eq!((&*buffer, buffer.capacity()), (&b"ab"[..], 2 + room));
        }
    }
}
