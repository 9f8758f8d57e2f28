use std::fmt;

use crate::seam::seam_panicked;
use crate::waiting::{Otherwise, Waiting, Work};

/// What became of a record that a sink was handed.
#[must_use = "what is not recorded may not go on"]
pub struct Receipt(State);

enum State {
    Done(Result<(), Unrecorded>),
    Writing(Work<(), Unrecorded>),
}

/// A record could not be kept.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unrecorded;

impl Unrecorded {
    /// It could not be kept.
    pub const fn new() -> Self {
        Self
    }
}

impl Receipt {
    /// The record is kept: it outlives this process.
    pub fn recorded() -> Self {
        Self(State::Done(Ok(())))
    }

    /// The record could not be kept.
    pub fn unrecorded() -> Self {
        Self(State::Done(Err(Unrecorded)))
    }

    /// The record is on its way, and is known to be kept once this is done. It
    /// counts as lost if that takes more than 100 ms.
    ///
    /// The work itself has to have begun: where nobody waits any more, this is
    /// dropped without being polled.
    pub fn pending(writing: impl Future<Output = Result<(), Unrecorded>> + Send + 'static) -> Self {
        Self(State::Writing(Box::pin(writing)))
    }

    /// What has become of it, once that is known.
    ///
    /// # Errors
    ///
    /// If the record could not be kept, or is not known to be within 100 ms.
    ///
    /// ```
    /// use mcp_policy::{Receipt, Unrecorded};
    ///
    /// # futures::executor::block_on(async {
    /// assert_eq!(Receipt::recorded().get().await, Ok(()));
    ///
    /// let late = Receipt::pending(std::future::pending());
    /// assert_eq!(late.get().await, Err(Unrecorded::new()));
    /// # });
    /// ```
    pub async fn get(self) -> Result<(), Unrecorded> {
        match self.settle() {
            Settlement::Known(result) => result,
            Settlement::Awaited(settling) => settling.await,
        }
    }

    /// What has become of it, or how to wait for that.
    pub(crate) fn settle(self) -> Settlement {
        match self.0 {
            State::Done(result) => Settlement::Known(result),
            State::Writing(writing) => {
                let otherwise = Otherwise {
                    late: Unrecorded,
                    panicked: Unrecorded,
                    report: || seam_panicked("audit sink"),
                };
                Settlement::Awaited(Waiting::new(writing, otherwise))
            }
        }
    }

    /// What has become of it, however long that takes.
    #[cfg(test)]
    pub(crate) async fn patiently(self) -> Result<(), Unrecorded> {
        match self.0 {
            State::Done(result) => result,
            State::Writing(writing) => writing.await,
        }
    }

    /// Kept only where both of two are kept.
    ///
    /// ```
    /// use mcp_policy::{AuditRecord, AuditSink, Receipt};
    ///
    /// /// Writes everything down twice.
    /// struct Both<A, B>(A, B);
    ///
    /// impl<A: AuditSink, B: AuditSink> AuditSink for Both<A, B> {
    ///     fn record(&self, record: &AuditRecord) -> Receipt {
    ///         self.0.record(record).and(self.1.record(record))
    ///     }
    /// }
    /// ```
    pub fn and(self, other: Self) -> Self {
        match (self.0, other.0) {
            (State::Done(Ok(())), other) | (other, State::Done(Ok(()))) => Self(other),
            (State::Done(Err(lost)), _) | (_, State::Done(Err(lost))) => {
                Self(State::Done(Err(lost)))
            }
            (State::Writing(one), State::Writing(other)) => Self::pending(async {
                one.await?;
                other.await
            }),
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Done(result) => f.debug_tuple("Receipt").field(result).finish(),
            State::Writing(_) => f.write_str("Receipt(..)"),
        }
    }
}

impl fmt::Display for Unrecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record could not be kept")
    }
}

impl std::error::Error for Unrecorded {}

/// What is known of a receipt.
#[derive(Debug)]
pub(crate) enum Settlement {
    Known(Result<(), Unrecorded>),
    Awaited(Settling),
}

/// Waits until a record is kept or lost, but not for long.
pub(crate) type Settling = Waiting<(), Unrecorded>;
