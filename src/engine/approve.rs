//! Asks whether somebody has approved a call, and waits for that, but not for long.

mod awaited;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_timer::Delay;

use self::awaited::Answered;
pub(crate) use self::awaited::{AwaitedApproval, Held};
use super::asked;
use super::holds::{HeldCall, Hold, Holds};
use super::nested::Nested;
use super::rounds::{AtOnce, Came};
use crate::approval::{
    ApprovalEvents, ApprovalId, ApprovalQuestion, ApprovalRequest, ApprovalStore, ApprovalUsed,
    CallDigest,
};
use crate::clock::Moment;
use crate::store::{Settled, StoreAnswer, StoreError, Watched, answer_of};

/// Where approvals are asked for; `None` if nobody can give any.
#[derive(Clone, Default)]
pub(super) struct Approvals {
    store: Option<Arc<Watched<dyn ApprovalStore>>>,
    holds: Holds,
}

impl Approvals {
    pub(super) fn set_store(&mut self, store: impl ApprovalStore) {
        let store = Watched::<dyn ApprovalStore>::new("approval store", Box::new(store));
        self.store = Some(Arc::new(store));
    }

    pub(super) fn store(&self) -> Option<&Arc<Watched<dyn ApprovalStore>>> {
        self.store.as_ref()
    }

    /// Whether anybody can be asked.
    pub(super) fn can_be_given(&self) -> bool {
        self.store.is_some()
    }

    /// Whether the call is approved. If somebody has to decide first, that is waited
    /// for as long as this is patient.
    pub(super) fn ask(&self, question: &ApprovalQuestion, wait: Wait) -> Approving {
        let Some(store) = &self.store else {
            return Approving::Known(Err(Unapproved::Store));
        };
        let Wait {
            patience,
            came,
            at_once,
            call,
            nested,
        } = wait;
        let decided = patience.as_ref().and_then(|patience| patience.decided);
        let listening = patience.and_then(|patience| {
            // Before it is asked: nothing that is decided meanwhile may be missed.
            let changes = asked("approval store", || store.changes().listen()).ok()?;
            Some(Listening {
                patience,
                changes,
                hold: self.holds.begin(question.caller(), call)?,
            })
        });
        let store = Arc::clone(store);
        let asking = AwaitedApproval::new(store, question.clone(), listening, (at_once, nested));
        match (decided, came) {
            (Some(request), _) | (None, Came::Waiting(request)) => asking.look_at(request),
            (None, Came::Afresh) => asking.ask(),
            (None, Came::Approving(request)) => asking.decide(request, Answered::Approved),
            (None, Came::Denying(request)) => asking.decide(request, Answered::Denied),
            (None, Came::TakingBack(request)) => asking.take_back(request),
        }
    }

    /// Why a call may not be made although its approval should have been used.
    pub(super) fn unused(&self, used: &Result<ApprovalUsed, StoreError>) -> Option<Unapproved> {
        if let Some(store) = &self.store {
            store.note(used);
        }
        match used {
            Ok(ApprovalUsed::Now) => None,
            Ok(ApprovalUsed::Before | ApprovalUsed::NotApproved) => Some(Unapproved::Gone),
            Err(error) => Some(Unapproved::from(error)),
        }
    }

    /// Whether a call is held that its client does not wait for any more.
    pub(super) fn end_hold(&self, caller: &str, call: &HeldCall) -> bool {
        self.holds.end(caller, call)
    }
}

/// How long it is waited for an approval, and what is known of it.
pub(crate) struct Wait {
    /// `None` if it is not waited for at all.
    pub(super) patience: Option<Patience>,
    pub(super) came: Came,
    pub(super) at_once: AtOnce,
    /// Which call it is to its client.
    pub(super) call: Option<HeldCall>,
    /// How the client is asked about it while it waits.
    pub(super) nested: Option<Nested>,
}

impl fmt::Debug for Approvals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approvals").finish_non_exhaustive()
    }
}

/// How long a call is held that somebody has to approve, however often it is judged
/// meanwhile.
#[derive(Debug)]
pub(crate) struct Patience {
    time: Delay,
    /// The request about which somebody has decided.
    decided: Option<ApprovalId>,
}

impl Patience {
    pub(crate) fn of(time: Duration) -> Self {
        Self {
            time: Delay::new(time),
            decided: None,
        }
    }
}

/// How it is heard that something was decided.
struct Listening {
    patience: Patience,
    changes: ApprovalEvents,
    hold: Hold,
}

/// What became of asking for an approval.
#[derive(Debug)]
pub(crate) enum Approving {
    Known(Result<Approved, Unapproved>),
    Awaited(Box<AwaitedApproval>),
}

/// Why a call may not be made yet, or not at all.
#[derive(Debug)]
pub(crate) enum Unapproved {
    /// Somebody has to decide first.
    Pending(ApprovalRequest),
    /// Somebody has denied it.
    Denied(ApprovalRequest),
    /// The approval was used by another request, or is over.
    Gone,
    /// The client does not want it any more.
    TakenBack,
    /// Too much waits already.
    Full,
    /// The store did not answer.
    Store,
    /// The store panicked.
    Failed,
}

impl From<&StoreError> for Unapproved {
    fn from(error: &StoreError) -> Self {
        match *error == StoreError::PANICKED {
            true => Self::Failed,
            false => Self::Store,
        }
    }
}

/// An approval that has not been used yet. To drop it uses nothing up.
pub(crate) struct Approved {
    store: Arc<Watched<dyn ApprovalStore>>,
    pub(super) request: ApprovalRequest,
    call: CallDigest,
}

/// What became of using an approval.
pub(crate) type Using = Settled<ApprovalUsed>;

impl Approved {
    /// Uses it up, and cannot give it back.
    pub(super) fn use_up(self, now: Moment) -> Using {
        asked_of(|| self.store.use_up(self.request.id(), &self.call, now)).settle()
    }
}

impl fmt::Debug for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approved")
            .field("request", &self.request.id())
            .finish_non_exhaustive()
    }
}

pub(super) fn asked_of<T>(ask: impl FnOnce() -> StoreAnswer<T>) -> StoreAnswer<T> {
    answer_of("approval store", ask)
}
