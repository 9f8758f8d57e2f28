//! Tells a page that something has changed. What that is, the page asks then.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use hyper::body::{Body, Frame};
use mcp_policy::ApprovalEvents;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

use super::sessions::{Sessions, Visitor};

/// How often a page looks again, so that it shows what has expired.
const LOOK: Duration = Duration::from_secs(20);

/// How soon a page looks again, however much is decided.
const REST: Duration = Duration::from_secs(1);

/// What makes a page look again.
pub(super) type Changes = Pin<Box<dyn Stream<Item = ()> + Send + Sync>>;

/// That something becomes of what waits.
pub(super) fn of_approvals(events: ApprovalEvents) -> Changes {
    Box::pin(events.map(|_| ()))
}

/// That one or the other changes.
pub(super) fn of_either(one: watch::Receiver<()>, other: watch::Receiver<()>) -> Changes {
    Box::pin(stream::select(changes_of(one), changes_of(other)))
}

fn changes_of(changes: watch::Receiver<()>) -> impl Stream<Item = ()> {
    let begun = (changes, Instant::now());
    stream::unfold(begun, |(mut changes, soonest)| async move {
        changes.changed().await.ok()?;
        sleep_until(soonest).await;
        changes.mark_unchanged();
        Some(((), (changes, Instant::now() + REST)))
    })
}

/// A stream of events, which say nothing but that it is time to look.
pub(in crate::admin) struct Live {
    changes: Changes,
    look: Interval,
    sessions: Arc<Sessions>,
    visitor: Visitor,
    _permit: OwnedSemaphorePermit,
}

impl Live {
    pub(super) fn new(
        changes: Changes,
        sessions: Arc<Sessions>,
        visitor: Visitor,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            changes,
            look,
            sessions,
            visitor,
            _permit: permit,
        }
    }
}

impl Body for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut has_changed = false;
        // Several changes at once are one reason to look. There are 256 at most.
        while let Poll::Ready(Some(())) = self.changes.as_mut().poll_next(context) {
            has_changed = true;
        }
        if !has_changed && self.look.poll_tick(context).is_pending() {
            return Poll::Pending;
        }
        if !self.sessions.lasts(&self.visitor, Instant::now()) {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: look\n\n")))))
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}
