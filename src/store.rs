//! What stores answer: at once, or when they have asked somebody else.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::seam::{asked, seam_panicked};
use crate::waiting::{Otherwise, Waiting, Work};

/// The answer of a [`LimitStore`](crate::LimitStore), a
/// [`SessionStore`](crate::SessionStore) or an [`ApprovalStore`](crate::ApprovalStore):
/// one that is known costs no allocation.
#[must_use = "what is not known may not go on"]
pub struct StoreAnswer<T>(State<T>);

enum State<T> {
    Known(Result<T, StoreError>),
    Asking(Work<T, StoreError>),
}

impl<T> StoreAnswer<T> {
    /// This is the answer.
    pub fn known(answer: T) -> Self {
        Self(State::Known(Ok(answer)))
    }

    /// There is none.
    pub fn failed(error: StoreError) -> Self {
        Self(State::Known(Err(error)))
    }

    /// The answer is on its way. A call that waits for it waits for 100 ms, and then there
    /// is none.
    ///
    /// What has to happen in any case has to have begun: where nobody waits any
    /// more, this is dropped without being polled.
    pub fn pending(asking: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Self {
        Self(State::Asking(Box::pin(asking)))
    }

    /// The answer, once it is there.
    ///
    /// # Errors
    ///
    /// If there is none, or none within 100 ms.
    ///
    /// ```
    /// use mcp_policy::{StoreAnswer, StoreError};
    ///
    /// # futures::executor::block_on(async {
    /// assert_eq!(StoreAnswer::known(7).get().await, Ok(7));
    ///
    /// let late = StoreAnswer::<u8>::pending(std::future::pending());
    /// assert!(late.get().await.is_err());
    /// # });
    /// ```
    pub async fn get(self) -> Result<T, StoreError> {
        match self.settle() {
            Settled::Known(answer) => answer,
            Settled::Awaited(waiting) => waiting.await,
        }
    }

    /// The answer, for somebody who is not a call and can wait for so long.
    ///
    /// # Errors
    ///
    /// If there is none, or none within this time.
    pub async fn get_within(self, patience: Duration) -> Result<T, StoreError> {
        match self.0 {
            State::Known(answer) => answer,
            State::Asking(asking) => {
                let late = StoreError::of("there was no answer in time");
                Waiting::within(patience, asking, otherwise(late)).await
            }
        }
    }

    /// What is made of the answer, by whoever waits for it.
    #[cfg(feature = "sqlite")]
    pub(crate) fn and_then<U>(
        self,
        make: impl FnOnce(T) -> Result<U, StoreError> + Send + 'static,
    ) -> StoreAnswer<U>
    where
        T: 'static,
    {
        match self.0 {
            State::Known(answer) => StoreAnswer(State::Known(answer.and_then(make))),
            State::Asking(asking) => StoreAnswer::pending(async move { make(asking.await?) }),
        }
    }

    /// The answer, however long it takes.
    #[cfg(test)]
    pub(crate) async fn patiently(self) -> Result<T, StoreError> {
        match self.0 {
            State::Known(answer) => answer,
            State::Asking(asking) => asking.await,
        }
    }

    /// The answer, or how to wait for it.
    pub(crate) fn settle(self) -> Settled<T> {
        match self.0 {
            State::Known(answer) => Settled::Known(answer),
            State::Asking(asking) => {
                let late = StoreError::of("there was no answer within 100 ms");
                Settled::Awaited(Waiting::new(asking, otherwise(late)))
            }
        }
    }
}

fn otherwise(late: StoreError) -> Otherwise<StoreError> {
    Otherwise {
        late,
        panicked: StoreError::PANICKED,
        report: || seam_panicked("store"),
    }
}

/// Asks a store, of which a panic is an answer as well.
pub(crate) fn answer_of<T>(
    store: &'static str,
    question: impl FnOnce() -> StoreAnswer<T>,
) -> StoreAnswer<T> {
    asked(store, question).unwrap_or_else(|_| StoreAnswer::failed(StoreError::PANICKED))
}

impl<T: fmt::Debug> fmt::Debug for StoreAnswer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Known(answer) => f.debug_tuple("StoreAnswer").field(answer).finish(),
            State::Asking(_) => f.write_str("StoreAnswer(..)"),
        }
    }
}

/// A store could not answer.
///
/// Its text is for the operator. It must not hold passwords or values of
/// arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(Cow<'static, str>);

impl StoreError {
    /// Of a store that has panicked.
    pub(crate) const PANICKED: Self = Self::of("it panicked");

    pub(crate) const fn of(reason: &'static str) -> Self {
        Self(Cow::Borrowed(reason))
    }

    /// An error for this reason.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// What is known of an answer.
pub(crate) enum Settled<T> {
    Known(Result<T, StoreError>),
    Awaited(Waiting<T, StoreError>),
}

/// Tells the operator once that a store does not answer, and once that it does again, and
/// not with each call.
#[derive(Debug)]
pub(crate) struct Outage {
    store: &'static str,
    /// Whether it did not answer the last time.
    lasts: AtomicBool,
}

impl Outage {
    /// Of what is called so.
    pub(crate) fn of(store: &'static str) -> Self {
        Self {
            store,
            lasts: AtomicBool::new(false),
        }
    }

    /// What it answered, if it did.
    pub(crate) fn note<T>(&self, answer: &Result<T, StoreError>) {
        match answer {
            Ok(_) => self.has_ended(),
            Err(error) => self.goes_on(error),
        }
    }

    /// It answers.
    pub(crate) fn has_ended(&self) {
        if self.lasts.load(Ordering::Relaxed) && self.lasts.swap(false, Ordering::Relaxed) {
            tracing::info!(target: "mcp_policy", "the {} answers again", self.store);
        }
    }

    /// It does not.
    pub(crate) fn goes_on(&self, error: &StoreError) {
        let store = self.store;
        match self.lasts.swap(true, Ordering::Relaxed) {
            false => tracing::error!(target: "mcp_policy", %error, "the {store} did not answer"),
            true => {
                tracing::debug!(target: "mcp_policy", %error, "the {store} did not answer again");
            }
        }
    }
}

/// A store, and whether it answers.
pub(crate) struct Watched<S: ?Sized> {
    store: Box<S>,
    outage: Outage,
}

impl<S: ?Sized> Watched<S> {
    /// One that is called so.
    pub(crate) fn new(name: &'static str, store: Box<S>) -> Self {
        Self {
            store,
            outage: Outage::of(name),
        }
    }

    /// What it answered, if it did.
    pub(crate) fn note<T>(&self, answer: &Result<T, StoreError>) {
        self.outage.note(answer);
    }
}

impl<S: ?Sized> Deref for Watched<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}
