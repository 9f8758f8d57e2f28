//! What applications see of approvals.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ApprovalStore;
use super::changes::{ApprovalChanges, ApprovalEvents};
use super::request::{ApprovalId, ApprovalRequest, ApprovalState};
use super::ruling::{NotDecided, Ruling};
use crate::clock::{Clock, Moment, SystemClock};
use crate::seam;
use crate::store::{StoreAnswer, StoreError, answer_of};

/// How long an operator waits for a store: longer than a call, as all that waits can be
/// a lot.
const PATIENCE: Duration = Duration::from_secs(3);

/// What waits for an approval, for an application that shows it to its operators and
/// lets them decide.
///
/// It knows what the store knows: those who wait and, for a while, what became of
/// others. Cloning is cheap.
///
/// ```
/// use mcp_policy::{ApprovalState, Approvals, MemoryApprovalStore, Ruling};
///
/// # futures::executor::block_on(async {
/// let approvals = Approvals::new(MemoryApprovalStore::default());
/// for request in approvals.list(&[ApprovalState::Pending]).await? {
///     println!("{} wants {} to {}", request.caller(), request.server(), request.name());
///     let ruling = Ruling::deny("dora").with_note("not today");
///     approvals.decide(request.id(), &ruling).await?;
/// }
/// # Ok::<(), mcp_policy::ApprovalError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Approvals {
    store: Arc<dyn ApprovalStore>,
    clock: Arc<dyn Clock>,
}

impl Approvals {
    /// Those in this store.
    pub fn new(store: impl ApprovalStore) -> Self {
        Self {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
        }
    }

    /// By this clock, which has to be that of the layers that share the store.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// All that are known and in one of these states, the oldest first.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn list(
        &self,
        states: &[ApprovalState],
    ) -> Result<Vec<ApprovalRequest>, ApprovalError> {
        Ok(self
            .asked(|store, now| store.list(states, now))
            .get_within(PATIENCE)
            .await?)
    }

    /// One of them; `None` if it is not known, or not any more.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn get(&self, request: ApprovalId) -> Result<Option<ApprovalRequest>, ApprovalError> {
        Ok(self
            .asked(|store, now| store.get(request, now))
            .get_within(PATIENCE)
            .await?)
    }

    /// Lets the operator of this name approve a request, and gives it as it is then.
    /// Whoever calls this has to know that it is that operator, and that no caller
    /// gets here.
    ///
    /// # Errors
    ///
    /// If it does not wait for that, if the operator is the caller, or if the store
    /// does not answer.
    pub async fn approve(
        &self,
        request: ApprovalId,
        operator: &str,
    ) -> Result<ApprovalRequest, ApprovalError> {
        self.decide(request, &Ruling::approve(operator)).await
    }

    /// Lets the operator of this name deny a request, and gives it as it is then.
    /// Whoever calls this has to know that it is that operator.
    ///
    /// # Errors
    ///
    /// As of [`approve`](Self::approve).
    pub async fn deny(
        &self,
        request: ApprovalId,
        operator: &str,
    ) -> Result<ApprovalRequest, ApprovalError> {
        self.decide(request, &Ruling::deny(operator)).await
    }

    /// Approves or denies a request, perhaps with a [note](Ruling::with_note), and
    /// gives it as it is then.
    ///
    /// # Errors
    ///
    /// As of [`approve`](Self::approve).
    pub async fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
    ) -> Result<ApprovalRequest, ApprovalError> {
        let decided = self.asked(|store, now| store.decide(request, ruling, now));
        Ok(decided.get_within(PATIENCE).await??)
    }

    /// What becomes of requests from now on.
    ///
    /// What has expired is told once the store notices, which is when it is asked for
    /// something. If the store panics, nothing is told.
    ///
    /// ```
    /// use futures::StreamExt as _;
    /// use mcp_policy::{ApprovalEvent, ApprovalState, Approvals, MemoryApprovalStore};
    ///
    /// # async fn example() -> Result<(), mcp_policy::ApprovalError> {
    /// let approvals = Approvals::new(MemoryApprovalStore::default());
    /// let mut changes = approvals.changes();
    /// while let Some(event) = changes.next().await {
    ///     match event {
    ///         ApprovalEvent::Changed(request, ApprovalState::Pending) => {
    ///             println!("{:?} is new", approvals.get(request).await?);
    ///         }
    ///         ApprovalEvent::Changed(request, state) => println!("{request} is {state}"),
    ///         // Something was missed, or is not understood.
    ///         _ => {
    ///             println!("{:?} wait", approvals.list(&[ApprovalState::Pending]).await?);
    ///         }
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn changes(&self) -> ApprovalEvents {
        let changes = seam::asked("store", || self.store.changes());
        let changes = changes.unwrap_or_else(|_| ApprovalChanges::default());
        changes.listen()
    }

    /// Asks the store, and survives its panics.
    fn asked<T>(
        &self,
        ask: impl FnOnce(&dyn ApprovalStore, Moment) -> StoreAnswer<T>,
    ) -> StoreAnswer<T> {
        answer_of("store", || ask(&*self.store, self.clock.now()))
    }
}

impl fmt::Debug for Approvals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approvals").finish_non_exhaustive()
    }
}

/// Why an application did not get what it wanted of [`Approvals`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalError {
    /// The store did not answer.
    Store(StoreError),
    /// It was not decided.
    NotDecided(NotDecided),
}

impl From<StoreError> for ApprovalError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotDecided> for ApprovalError {
    fn from(why: NotDecided) -> Self {
        Self::NotDecided(why)
    }
}

impl fmt::Display for ApprovalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "the store of approvals did not answer: {error}"),
            Self::NotDecided(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for ApprovalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::NotDecided(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
