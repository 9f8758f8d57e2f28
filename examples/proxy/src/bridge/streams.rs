//! Streams of messages to the client, and what becomes of one that is not read.
//!
//! Each stream holds [`ROOM`] bytes that the client has not taken yet, or one
//! message. The server's stdout is read on only when there is room, so that a
//! server that says more than its client reads has to wait. But all streams of a
//! session hang on that one stdout: so a stream that makes no room for
//! [`PATIENCE`] is ended, and the others go on.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout},
};

/// Bytes that wait for a client at most, unless a single message has more.
const ROOM: usize = 1 << 20;
/// What a message takes of the room besides its bytes, so that a flood of small
/// ones is bounded too.
const OVERHEAD: usize = 256;
/// How long a stream may take to make room for the next message.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often something is written to a stream on which nothing happens: that is
/// how a client that went without a word is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where messages for a client go in. The stream ends when all clones are
/// dropped.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    messages: mpsc::UnboundedSender<Waiting>,
    room: Arc<Semaphore>,
}

/// Where they come out again.
#[derive(Debug)]
pub(super) struct Inlet(mpsc::UnboundedReceiver<Waiting>);

/// A message and the room that it takes.
#[derive(Debug)]
struct Waiting {
    message: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// Nobody reads the stream any more.
    Gone,
    /// There was no room for it.
    NoRoom,
}

pub(super) fn stream() -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let outlet = Outlet {
        messages: sender,
        room: Arc::new(Semaphore::new(ROOM)),
    };
    (outlet, Inlet(receiver))
}

impl Outlet {
    /// Waits for room, but not for ever.
    pub(super) async fn send(&self, message: &Bytes) -> Result<(), Unsent> {
        let room = Arc::clone(&self.room).acquire_many_owned(room_for(message));
        let room = tokio::select! {
            biased;
            () = self.messages.closed() => return Err(Unsent::Gone),
            room = timeout(PATIENCE, room) => room,
        };
        match room {
            Ok(Ok(room)) => self.put(message.clone(), Some(room)),
            _ => Err(Unsent::NoRoom),
        }
    }

    /// Does not wait.
    pub(super) fn send_now(&self, message: Bytes) -> Result<(), Unsent> {
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(room_for(&message))
            .map_err(|_| Unsent::NoRoom)?;
        self.put(message, Some(room))
    }

    /// The last message, one of this program's own: small, and always taken.
    pub(super) fn end_with(self, message: Bytes) {
        // Nobody is there to miss it.
        let _ = self.put(message, None);
    }

    fn put(&self, message: Bytes, room: Option<OwnedSemaphorePermit>) -> Result<(), Unsent> {
        let waiting = Waiting {
            message,
            _room: room,
        };
        self.messages.send(waiting).map_err(|_| Unsent::Gone)
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.messages.same_channel(&other.messages)
    }
}

/// Never more than there is, or the message would never go.
fn room_for(message: &Bytes) -> u32 {
    let room = message.len().saturating_add(OVERHEAD).min(ROOM);
    u32::try_from(room).unwrap_or(u32::MAX)
}

impl Inlet {
    /// The next message; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        Some(self.0.recv().await?.message)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0
            .poll_recv(context)
            .map(|waiting| Some(waiting?.message))
    }
}

/// A stream as a response body: one event for each message, and comments
/// meanwhile.
pub(crate) struct EventStream {
    inlet: Inlet,
    keep_alive: Interval,
    /// Dropped when the client has gone, or has all.
    _whose: Box<dyn Send>,
}

impl EventStream {
    /// `whose` is kept as long as the stream is.
    pub(super) fn new(inlet: Inlet, whose: impl Send + 'static) -> Self {
        let mut keep_alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            inlet,
            keep_alive,
            _whose: Box::new(whose),
        }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(message) = self.inlet.poll_next(context) {
            self.keep_alive.reset();
            return Poll::Ready(message.map(|message| Ok(Frame::data(event(&message)))));
        }
        ready!(self.keep_alive.poll_tick(context));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

/// A message as an event. It stands on one line.
fn event(message: &[u8]) -> Bytes {
    [b"event: message\ndata: ", message, b"\n\n"]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_takes_a_bounded_amount() {
        let (outlet, mut inlet) = stream();
        let small = Bytes::from_static(b"{}");
        let mut taken = 0;
        let before = Instant::now();
        while taken < ROOM && outlet.send(&small).await.is_ok() {
            taken += 1;
        }
        assert_eq!(taken, ROOM / (OVERHEAD + 2));
        assert!(before.elapsed() >= PATIENCE);
        assert_eq!(outlet.send_now(small.clone()), Err(Unsent::NoRoom));
        // What is read makes room.
        inlet.next().await.unwrap();
        assert_eq!(outlet.send(&small).await, Ok(()));
        // The last word is always taken, and comes last.
        outlet.end_with(Bytes::from_static(b"last"));
        let mut last = Bytes::new();
        while let Some(message) = inlet.next().await {
            last = message;
        }
        assert_eq!(last, "last");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_larger_than_the_room_goes_alone() {
        let (outlet, mut inlet) = stream();
        let large = Bytes::from(vec![b'x'; ROOM * 3]);
        assert_eq!(outlet.send(&large).await, Ok(()));
        assert_eq!(outlet.send(&large).await, Err(Unsent::NoRoom));
        assert_eq!(inlet.next().await.unwrap().len(), ROOM * 3);
        assert_eq!(outlet.send(&large).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_reader_that_has_gone() {
        let (outlet, inlet) = stream();
        let large = Bytes::from(vec![b'x'; ROOM]);
        outlet.send(&large).await.unwrap();
        let before = Instant::now();
        let leave = async { drop(inlet) };
        let (sent, ()) = tokio::join!(outlet.send(&large), leave);
        assert_eq!(sent, Err(Unsent::Gone));
        assert!(before.elapsed() < PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_stream_says_that_it_is_there() {
        let (outlet, inlet) = stream();
        let mut body = EventStream::new(inlet, ());
        for _ in 0..3 {
            let before = Instant::now();
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), ":\n\n");
            assert_eq!(before.elapsed(), KEEP_ALIVE);
        }
        outlet.send_now(Bytes::from_static(b"{}")).unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "event: message\ndata: {}\n\n");
        drop(outlet);
        assert!(body.frame().await.is_none());
    }
}
