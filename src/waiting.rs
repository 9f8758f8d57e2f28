//! Waiting for what somebody else does, but not for long.

mod patience;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use patience::Patience;

/// Something that the embedder brought is at work.
pub(crate) type Work<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// How it ends if the work does not.
#[derive(Clone, Copy)]
pub(crate) struct Otherwise<E> {
    /// It takes too long.
    pub(crate) late: E,
    pub(crate) panicked: E,
    /// Whom to tell of a panic.
    pub(crate) report: fn(),
}

/// Waits for work, but not for long, and survives its panics.
pub(crate) struct Waiting<T, E> {
    /// `None` once it is done.
    work: Option<Work<T, E>>,
    patience: Patience,
    otherwise: Otherwise<E>,
}

impl<T, E: Clone> Waiting<T, E> {
    pub(crate) fn new(work: Work<T, E>, otherwise: Otherwise<E>) -> Self {
        Self::by(Patience::usual(), work, otherwise)
    }

    /// The same for those who wait for longer or shorter.
    pub(crate) fn within(patience: Duration, work: Work<T, E>, otherwise: Otherwise<E>) -> Self {
        Self::by(Patience::of(patience), work, otherwise)
    }

    fn by(patience: Patience, work: Work<T, E>, otherwise: Otherwise<E>) -> Self {
        Self {
            work: Some(work),
            patience,
            otherwise,
        }
    }
}

impl<T, E: Clone + Unpin> Future for Waiting<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(Err(self.otherwise.late.clone()));
        };
        let result = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Ready(result)) => result,
            Ok(Poll::Pending) => {
                ready!(Pin::new(&mut self.patience).poll(context));
                Err(self.otherwise.late.clone())
            }
            Err(_) => {
                (self.otherwise.report)();
                Err(self.otherwise.panicked.clone())
            }
        };
        self.let_go();
        Poll::Ready(result)
    }
}

impl<T, E> Waiting<T, E> {
    /// Waits for other work, but not anew.
    pub(crate) fn go_on_with(&mut self, mut other: Self) {
        self.let_go();
        self.work = other.work.take();
    }

    /// Drops the work, which may panic.
    fn let_go(&mut self) {
        if let Some(work) = self.work.take() {
            if catch_unwind(AssertUnwindSafe(|| drop(work))).is_err() {
                (self.otherwise.report)();
            }
        }
    }
}

impl<T, E> Drop for Waiting<T, E> {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl<T, E> fmt::Debug for Waiting<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}
