//! Asks whether somebody has approved a call, and waits for that, but not for long.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream as _;
use futures_timer::Delay;

use super::asked;
use super::holds::{Hold, Holds};
use crate::approval::{
    ApprovalEvent, ApprovalEvents, ApprovalId, ApprovalQuestion, ApprovalRequest, ApprovalState,
    ApprovalStore, Asked, CallDigest, Used,
};
use crate::audit::seam_panicked;
use crate::clock::Moment;
use crate::store::{Answer, Settled, StoreError};
use crate::waiting::Waiting;

/// Where approvals are asked for; `None` if nobody can give any.
#[derive(Clone, Default)]
pub(super) struct Approvals {
    store: Option<Arc<dyn ApprovalStore>>,
    holds: Holds,
}

impl Approvals {
    pub(super) fn set_store(&mut self, store: impl ApprovalStore) {
        self.store = Some(Arc::new(store));
    }

    /// Whether anybody can be asked.
    pub(super) fn can_be_given(&self) -> bool {
        self.store.is_some()
    }

    /// Whether the call is approved. If somebody has to decide first, that is waited
    /// for as long as this is patient.
    pub(super) fn ask(&self, question: &ApprovalQuestion, patience: Option<Patience>) -> Approving {
        let Some(store) = &self.store else {
            return Approving::Known(Err(Unapproved::Store));
        };
        let decided = patience.as_ref().and_then(|patience| patience.decided);
        let listening = patience.and_then(|patience| {
            // Before it is asked: nothing that is decided meanwhile may be missed.
            let changes = asked("approval store", || store.changes().listen()).ok()?;
            Some(Listening {
                patience,
                changes,
                _hold: self.holds.begin(question.caller())?,
            })
        });
        let asking = AwaitedApproval {
            store: Arc::clone(store),
            question: question.clone(),
            listening,
            stage: Stage::Ended,
        };
        match decided {
            Some(request) => asking.look_at(request),
            None => asking.ask(),
        }
    }
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
    _hold: Hold,
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
    /// Too much waits already.
    Full,
    /// The store did not answer.
    Store,
    /// The store panicked.
    Failed,
}

impl From<&StoreError> for Unapproved {
    fn from(error: &StoreError) -> Self {
        tracing::error!(target: "mcp_policy", %error, "the approval store did not answer");
        match *error == StoreError::PANICKED {
            true => Self::Failed,
            false => Self::Store,
        }
    }
}

/// How waiting for an approval ended.
#[derive(Debug)]
pub(crate) enum Held {
    /// This is how it is.
    Settled(Result<Approved, Unapproved>),
    /// Something was decided: by now another policy may hold, so all of it is to be
    /// judged again.
    Decided(Patience),
}

/// A call that somebody has to approve.
pub(crate) struct AwaitedApproval {
    store: Arc<dyn ApprovalStore>,
    question: ApprovalQuestion,
    /// `None` if it is not waited for a decision.
    listening: Option<Listening>,
    stage: Stage,
}

enum Stage {
    /// It is looked at what was decided.
    Looking(Waiting<Option<ApprovalRequest>, StoreError>),
    /// The store is asked.
    Asking(Waiting<Asked, StoreError>),
    /// Somebody has to decide.
    Pending(ApprovalRequest),
    Ended,
}

impl AwaitedApproval {
    /// Looks at what was decided. Where it is over already, nobody is asked again for
    /// the same call.
    fn look_at(self, request: ApprovalId) -> Approving {
        let at = self.question.at();
        match asked_of(|| self.store.get(request, at)).settle() {
            Settled::Known(found) => self.looked_at(&found),
            Settled::Awaited(waiting) => Approving::Awaited(Box::new(Self {
                stage: Stage::Looking(waiting),
                ..self
            })),
        }
    }

    fn looked_at(self, found: &Result<Option<ApprovalRequest>, StoreError>) -> Approving {
        let state = match found {
            Ok(found) => found.as_ref().map(ApprovalRequest::state),
            Err(error) => return Approving::Known(Err(Unapproved::from(error))),
        };
        match state {
            Some(ApprovalState::Pending | ApprovalState::Approved | ApprovalState::Denied) => {
                self.ask()
            }
            _ => Approving::Known(Err(Unapproved::Gone)),
        }
    }

    fn ask(self) -> Approving {
        match asked_of(|| self.store.ask(&self.question)).settle() {
            Settled::Known(answer) => self.answered(answer),
            Settled::Awaited(waiting) => Approving::Awaited(Box::new(Self {
                stage: Stage::Asking(waiting),
                ..self
            })),
        }
    }

    fn answered(self, answer: Result<Asked, StoreError>) -> Approving {
        Approving::Known(Err(match answer {
            Ok(Asked::Approved(request)) => {
                return Approving::Known(Ok(Approved {
                    store: self.store,
                    request: request.id(),
                    call: *self.question.digest(),
                }));
            }
            Ok(Asked::Pending(request)) if self.listening.is_some() => {
                return Approving::Awaited(Box::new(Self {
                    stage: Stage::Pending(request),
                    ..self
                }));
            }
            Ok(Asked::Pending(request)) => Unapproved::Pending(request),
            Ok(Asked::Denied(request)) => Unapproved::Denied(request),
            Ok(Asked::Full) => Unapproved::Full,
            Err(error) => Unapproved::from(&error),
        }))
    }

    /// The same, for its next stage.
    fn take(&mut self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            question: self.question.clone(),
            listening: self.listening.take(),
            stage: Stage::Ended,
        }
    }

    /// Waits until something was decided about this request; or not any longer.
    fn poll_decided(
        &mut self,
        request: &ApprovalRequest,
        context: &mut Context<'_>,
    ) -> Poll<Option<Patience>> {
        let Some(listening) = &mut self.listening else {
            return Poll::Ready(None);
        };
        loop {
            let event = match Pin::new(&mut listening.changes).poll_next(context) {
                Poll::Ready(event) => event,
                Poll::Pending => {
                    ready!(Pin::new(&mut listening.patience.time).poll(context));
                    return Poll::Ready(None);
                }
            };
            let is_decided = match event {
                Some(ApprovalEvent::Changed(id, state)) => {
                    id == request.id() && state != ApprovalState::Pending
                }
                Some(ApprovalEvent::Missed) => true,
                None => return Poll::Ready(None),
            };
            if is_decided {
                let listening = self.listening.take();
                return Poll::Ready(listening.map(|listening| Patience {
                    decided: Some(request.id()),
                    ..listening.patience
                }));
            }
        }
    }
}

impl Future for AwaitedApproval {
    type Output = Held;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Held> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.stage, Stage::Ended) {
                Stage::Looking(mut waiting) => {
                    let Poll::Ready(found) = Pin::new(&mut waiting).poll(context) else {
                        this.stage = Stage::Looking(waiting);
                        return Poll::Pending;
                    };
                    match this.take().looked_at(&found) {
                        Approving::Known(result) => return Poll::Ready(Held::Settled(result)),
                        Approving::Awaited(awaited) => *this = *awaited,
                    }
                }
                Stage::Asking(mut waiting) => {
                    let Poll::Ready(answer) = Pin::new(&mut waiting).poll(context) else {
                        this.stage = Stage::Asking(waiting);
                        return Poll::Pending;
                    };
                    match this.take().answered(answer) {
                        Approving::Known(result) => return Poll::Ready(Held::Settled(result)),
                        Approving::Awaited(awaited) => *this = *awaited,
                    }
                }
                Stage::Pending(request) => {
                    return match this.poll_decided(&request, context) {
                        Poll::Ready(Some(patience)) => Poll::Ready(Held::Decided(patience)),
                        Poll::Ready(None) => {
                            Poll::Ready(Held::Settled(Err(Unapproved::Pending(request))))
                        }
                        Poll::Pending => {
                            this.stage = Stage::Pending(request);
                            Poll::Pending
                        }
                    };
                }
                Stage::Ended => return Poll::Ready(Held::Settled(Err(Unapproved::Store))),
            }
        }
    }
}

impl fmt::Debug for AwaitedApproval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitedApproval").finish_non_exhaustive()
    }
}

/// An approval that has not been used yet. To drop it uses nothing up.
pub(crate) struct Approved {
    store: Arc<dyn ApprovalStore>,
    request: ApprovalId,
    call: CallDigest,
}

/// What became of using an approval.
#[derive(Debug)]
pub(crate) enum Using {
    Known(Result<Used, StoreError>),
    Awaited(Waiting<Used, StoreError>),
}

impl Approved {
    /// Uses it up, and cannot give it back.
    pub(super) fn use_up(self, now: Moment) -> Using {
        let used = asked_of(|| self.store.use_up(self.request, &self.call, now));
        match used.settle() {
            Settled::Known(used) => Using::Known(used),
            Settled::Awaited(waiting) => Using::Awaited(waiting),
        }
    }
}

/// Why a call may not be made although its approval should have been used.
pub(crate) fn unused(used: &Result<Used, StoreError>) -> Option<Unapproved> {
    match used {
        Ok(Used::Now) => None,
        Ok(Used::Before | Used::NotApproved) => Some(Unapproved::Gone),
        Err(error) => Some(Unapproved::from(error)),
    }
}

impl fmt::Debug for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approved")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

fn asked_of<T>(ask: impl FnOnce() -> Answer<T>) -> Answer<T> {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| {
        seam_panicked("approval store");
        Answer::failed(StoreError::PANICKED)
    })
}
