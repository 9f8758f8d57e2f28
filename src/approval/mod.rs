//! Calls that wait until somebody approves exactly them. See
//! [the page on approvals](crate::docs::approvals).
//!
//! A [question](ApprovalQuestion) is what a call asks a store, a
//! [request](ApprovalRequest) what the store keeps of it, and a [ruling](Ruling) what
//! somebody decides about that. What may become of a request is all in
//! [`request`]; stores only keep them, for as long as they have to.

mod changes;
mod digest;
mod handle;
mod memory;
mod notify;
mod question;
#[cfg(feature = "redis")]
mod redis;
mod request;
mod ruling;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

pub use changes::{ApprovalChanges, ApprovalEvent, ApprovalEvents};
pub use digest::CallDigest;
pub use handle::{ApprovalError, Approvals};
pub use memory::MemoryApprovalStore;
pub use notify::{ApprovalNotice, Notifier};
#[cfg(feature = "webhook")]
pub use notify::{Webhook, WebhookError};
pub use question::ApprovalQuestion;
pub(crate) use question::{Call, Demand};
#[cfg(feature = "redis")]
pub use redis::RedisApprovalStore;
pub use request::{
    ApprovalId, ApprovalIdError, ApprovalRequest, ApprovalState, ApprovalUsed, ShownArguments,
};
pub use ruling::{Decider, NotDecided, Ruling};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteApprovalStore;

use crate::clock::Moment;
use crate::store::StoreAnswer;

/// Requests of one caller that may be pending.
const MOST_PENDING_OF_A_CALLER: usize = 20;
/// Requests that may be pending in all.
const MOST_PENDING: usize = 1_000;
/// New requests of one caller in an hour.
const MOST_NEW_IN_AN_HOUR: usize = 60;
/// New requests in an hour, of all callers together.
const MOST_NEW_OF_ALL: usize = 60_000;
/// Requests in force: pending or approved, or denied and refusing the same call.
const MOST_IN_FORCE: usize = 10_000;
/// Of one caller.
const MOST_IN_FORCE_OF_A_CALLER: usize = 200;
/// Bytes of arguments.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// Requests that have ended.
const MOST_ENDED: usize = 1_000;
/// How long those are known.
const KNOWN_FOR: Duration = HOUR;
const HOUR: Duration = Duration::from_secs(3_600);

/// Keeps what waits for an approval, and what became of it. The default is
/// [`MemoryApprovalStore`].
///
/// A request is found by the [digest](CallDigest) of its call, so that a call that is
/// made again finds what was decided about it. There is at most one for each digest
/// that is pending or approved, or that was denied and has not expired since.
///
/// What may become of a request is said by [`ApprovalRequest`]; a store decides when
/// its [time](ApprovalRequest::expires) is over, and does one thing after the other:
/// however many use an approval at once, one of them gets it.
///
/// No method may block, and whatever comes from outside has to be bounded. If one
/// panics or does not answer, the call is refused.
pub trait ApprovalStore: Send + Sync + 'static {
    /// Whether this call is approved. If nothing is known of it, that begins a
    /// [request](ApprovalRequest::new), unless there are too many: at most 20 of one
    /// caller and 1 000 in all are pending, and 60 of one caller begin in an hour.
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked>;

    /// Uses an approval up, if there is one, for the call of this digest. It cannot be
    /// given back.
    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed>;

    /// Approves or denies a request, and gives it as it is then.
    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>>;

    /// Takes back what is [open](ApprovalState::is_open), and says whether it was.
    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool>;

    /// A request, if it is known.
    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>>;

    /// All requests that are known and in one of these states, the oldest first.
    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>>;

    /// Where it says what becomes of its requests: always a clone of the same. Calls
    /// that wait listen there, so what changed in another process is said there as
    /// well.
    fn changes(&self) -> ApprovalChanges;

    /// Whether requests are still known when the process has ended.
    fn outlives_process(&self) -> bool {
        false
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ApprovalStore + ?Sized> ApprovalStore for Arc<S> {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        (**self).ask(question)
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        (**self).use_up(request, call, now)
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        (**self).decide(request, ruling, now)
    }

    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        (**self).cancel(request, now)
    }

    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        (**self).get(request, now)
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        (**self).list(states, now)
    }

    fn changes(&self) -> ApprovalChanges {
        (**self).changes()
    }

    fn outlives_process(&self) -> bool {
        (**self).outlives_process()
    }
}

/// What a store says to an [`ApprovalQuestion`]. Further answers may come; what a store
/// says today it can say with every later version.
#[non_exhaustive]
#[derive(Clone, Debug)]
#[must_use = "a call goes on only if it is approved"]
pub enum ApprovalAsked {
    /// Somebody has to decide first.
    Pending(ApprovalRequest),
    /// The call may be made once its approval is [used up](ApprovalStore::use_up).
    Approved(ApprovalRequest),
    /// It was denied not long ago.
    Denied(ApprovalRequest),
    /// Too much waits, or was asked for, already.
    Full,
}
