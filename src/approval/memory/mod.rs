//! Keeps requests in the memory of this process.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

use super::changes::ApprovalChanges;
use super::digest::CallDigest;
use super::question::ApprovalQuestion;
use super::request::{ApprovalId, ApprovalRequest, ApprovalState, ApprovalUsed};
use super::ruling::{NotDecided, Ruling};
use super::{ApprovalAsked, ApprovalStore};
use crate::clock::Moment;
use crate::store::{StoreAnswer, StoreError};
use table::Table;

/// An [`ApprovalStore`] in the memory of this process: an approval is used once under
/// any concurrency, and everything is forgotten when the process ends.
///
/// Beyond what every store bounds, there is room for 200 requests of one caller and
/// 10 000 in all that are pending, approved, or denied and refuse the same call; and
/// for 64 MiB of arguments. If there is no room for a further one, the call that asks
/// is refused as `(approvals full)`. Of those that have ended the last 1 000 are known
/// for an hour.
///
/// Time goes by the clock that never goes back. An answer is always known at once.
///
/// ```
/// use std::sync::Arc;
/// use mcp_policy::{ApprovalState, Approvals, MemoryApprovalStore};
///
/// let store = Arc::new(MemoryApprovalStore::default());
/// let approvals = Approvals::new(store);
/// # futures::executor::block_on(async {
/// assert!(approvals.list(&[ApprovalState::Pending]).await?.is_empty());
/// # Ok::<(), mcp_policy::ApprovalError>(())
/// # }).unwrap();
/// ```
#[derive(Default)]
pub struct MemoryApprovalStore {
    table: Mutex<Table>,
    changes: ApprovalChanges,
}

impl MemoryApprovalStore {
    /// Does something with what is known now.
    fn known<T>(&self, now: Moment, get: impl FnOnce(&mut Table, Instant) -> T) -> StoreAnswer<T> {
        // If something was left half done, nothing is approved any more.
        let Ok(mut table) = self.table.lock() else {
            return StoreAnswer::failed(StoreError::PANICKED);
        };
        let now = table.pass_time(now.instant);
        let known = get(&mut table, now);
        let changed = table.take_changed();
        for (request, state) in &changed {
            self.changes.note(*request, *state);
        }
        drop(table);
        if !changed.is_empty() {
            self.changes.ring();
        }
        StoreAnswer::known(known)
    }
}

impl ApprovalStore for MemoryApprovalStore {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        match ApprovalRequest::new(question) {
            Ok(request) => self.known(question.at(), |table, now| table.ask(request, now)),
            Err(error) => StoreAnswer::failed(error),
        }
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        self.known(now, |table, now| {
            let used = table.change(request, now, |request| request.use_up(call));
            used.unwrap_or(ApprovalUsed::NotApproved)
        })
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        at: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        self.known(at, |table, now| {
            let decided = table.change(request, now, |request| {
                request.decide(ruling, at.system)?;
                Ok(request.clone())
            });
            decided.unwrap_or(Err(NotDecided::Unknown))
        })
    }

    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        self.known(now, |table, now| {
            let cancelled = table.change(request, now, ApprovalRequest::cancel);
            cancelled.unwrap_or_default()
        })
    }

    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        self.known(now, |table, _| table.get(request).cloned())
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        self.known(now, |table, _| table.list(states))
    }

    fn changes(&self) -> ApprovalChanges {
        self.changes.clone()
    }
}

impl fmt::Debug for MemoryApprovalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryApprovalStore")
            .finish_non_exhaustive()
    }
}
