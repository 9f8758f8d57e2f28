//! How a store says what becomes of its requests.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll};

use futures_core::Stream;

use super::request::{ApprovalId, ApprovalState};
use crate::bell::{Bell, Watch};
use crate::lock::lock;

/// Changes that are remembered for those who have not heard of them yet.
const REMEMBERED: usize = 256;

/// How an [`ApprovalStore`](super::ApprovalStore) says what becomes of its requests.
///
/// A store keeps one, returns a clone of it from
/// [`ApprovalStore::changes`](super::ApprovalStore::changes), and
/// [announces](Self::announce) every change, behind its own locks.
#[derive(Clone, Default)]
pub struct ApprovalChanges {
    board: Arc<Board>,
}

#[derive(Default)]
struct Board {
    recent: Mutex<Recent>,
    /// Wakes whoever listens.
    bell: Bell,
    /// How many listen.
    listeners: AtomicUsize,
    /// Told when somebody begins to listen where nobody did.
    begun: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Recent {
    /// How many changes were forgotten.
    forgotten: u64,
    changes: VecDeque<(ApprovalId, ApprovalState)>,
}

impl Recent {
    /// The number of the change that comes next.
    fn next(&self) -> u64 {
        let remembered = u64::try_from(self.changes.len()).unwrap_or(u64::MAX);
        self.forgotten.saturating_add(remembered)
    }
}

impl ApprovalChanges {
    /// Says that a request is in this state from now on.
    pub fn announce(&self, request: ApprovalId, state: ApprovalState) {
        self.note(request, state);
        self.ring();
    }

    /// The same in two steps: this one, which keeps the order, under the locks of the
    /// store.
    pub(super) fn note(&self, request: ApprovalId, state: ApprovalState) {
        let mut recent = self.board.recent();
        if recent.changes.len() >= REMEMBERED {
            recent.changes.pop_front();
            recent.forgotten = recent.forgotten.saturating_add(1);
        }
        recent.changes.push_back((request, state));
    }

    /// And this one behind them, because it wakes others.
    pub(super) fn ring(&self) {
        self.board.bell.ring();
    }

    /// Something was missed by everybody who listens.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(super) fn lose(&self) {
        let mut recent = self.board.recent();
        recent.forgotten = recent.next().saturating_add(1);
        recent.changes.clear();
        drop(recent);
        self.ring();
    }

    /// Whether anybody listens.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(super) fn are_heard(&self) -> bool {
        self.board.listeners.load(Ordering::SeqCst) > 0
    }

    /// Has this done whenever somebody begins to listen where nobody did. Once for each
    /// store.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(super) fn when_heard(&self, begun: impl Fn() + Send + Sync + 'static) {
        // There is none yet.
        let _ = self.board.begun.set(Box::new(begun));
    }

    /// What changes from now on.
    pub fn listen(&self) -> ApprovalEvents {
        let watch = self.board.bell.watch();
        let next = self.board.recent().next();
        if self.board.listeners.fetch_add(1, Ordering::SeqCst) == 0 {
            if let Some(begun) = self.board.begun.get() {
                begun();
            }
        }
        ApprovalEvents {
            board: Arc::clone(&self.board),
            watch,
            next,
        }
    }
}

impl Board {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        lock(&self.recent)
    }
}

impl fmt::Debug for ApprovalChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalChanges").finish_non_exhaustive()
    }
}

/// Something that a store said. Whoever hears something else does as if something was
/// [missed](Self::Missed).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalEvent {
    /// A request is in this state now, or was for a while. A new one is pending.
    Changed(ApprovalId, ApprovalState),
    /// So much has changed that some of it was missed: whoever shows requests lists
    /// them again.
    Missed,
}

/// What becomes of requests: a [`Stream`] that never ends.
///
/// It holds nothing back for itself. The last 256 changes are kept once for all who
/// listen; who comes later than that is told [`Missed`](ApprovalEvent::Missed), and
/// then what changes from there on.
pub struct ApprovalEvents {
    board: Arc<Board>,
    watch: Watch,
    /// The number of the change that is told next.
    next: u64,
}

impl Stream for ApprovalEvents {
    type Item = ApprovalEvent;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<ApprovalEvent>> {
        // Before it is looked at, so that nothing comes unnoticed in between.
        self.watch.poll(context);
        let this = &mut *self;
        let recent = this.board.recent();
        let Some(place) = this.next.checked_sub(recent.forgotten) else {
            this.next = recent.next();
            return Poll::Ready(Some(ApprovalEvent::Missed));
        };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        match recent.changes.get(place) {
            Some((request, state)) => {
                this.next = this.next.saturating_add(1);
                Poll::Ready(Some(ApprovalEvent::Changed(*request, *state)))
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for ApprovalEvents {
    fn drop(&mut self) {
        self.board.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for ApprovalEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalEvents").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::ApprovalEvent::{Changed, Missed};
    use super::*;

    fn heard(events: &mut ApprovalEvents) -> Option<ApprovalEvent> {
        let waker = std::task::Waker::noop();
        match events.poll_next_unpin(&mut Context::from_waker(waker)) {
            Poll::Ready(event) => Some(event.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn everybody_hears_what_changes_from_when_they_listen() {
        let changes = ApprovalChanges::default();
        let [one, other] = [(); 2].map(|()| ApprovalId::new().unwrap());
        changes.announce(one, ApprovalState::Pending);
        let mut first = changes.listen();
        assert_eq!(heard(&mut first), None);
        changes.clone().announce(other, ApprovalState::Pending);
        let mut second = changes.listen();
        changes.announce(one, ApprovalState::Denied);
        assert_eq!(
            heard(&mut first),
            Some(Changed(other, ApprovalState::Pending))
        );
        for events in [&mut first, &mut second] {
            assert_eq!(heard(events), Some(Changed(one, ApprovalState::Denied)));
            assert_eq!(heard(events), None);
        }
    }

    #[test]
    fn who_lags_behind_is_told_and_hears_what_comes_then() {
        let changes = ApprovalChanges::default();
        let request = ApprovalId::new().unwrap();
        let (mut just, mut late) = (changes.listen(), changes.listen());
        for _ in 0..REMEMBERED {
            changes.announce(request, ApprovalState::Pending);
        }
        for _ in 0..REMEMBERED {
            assert_eq!(
                heard(&mut just),
                Some(Changed(request, ApprovalState::Pending))
            );
        }
        changes.announce(request, ApprovalState::Approved);
        assert_eq!(heard(&mut late), Some(Missed));
        assert_eq!(heard(&mut late), None);
        assert_eq!(
            heard(&mut just),
            Some(Changed(request, ApprovalState::Approved))
        );
        changes.announce(request, ApprovalState::Used);
        assert_eq!(
            heard(&mut late),
            Some(Changed(request, ApprovalState::Used))
        );
        assert_eq!(changes.board.recent().changes.len(), REMEMBERED);
    }

    #[test]
    fn who_waits_is_woken() {
        let changes = ApprovalChanges::default();
        let request = ApprovalId::new().unwrap();
        let mut waiting = tokio_test::task::spawn(changes.listen());
        assert!(waiting.poll_next().is_pending());
        changes.announce(request, ApprovalState::Used);
        assert!(waiting.is_woken());
        let expected = Changed(request, ApprovalState::Used);
        assert_eq!(waiting.poll_next(), Poll::Ready(Some(expected)));
    }
}
