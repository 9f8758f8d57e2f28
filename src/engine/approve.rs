//! Asks whether somebody has approved a call, and waits for that, but not for long.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream as _;
use futures_timer::Delay;

use super::asked;
use super::holds::{HeldCall, Hold, Holds};
use super::nested::{ClientStream, Nested};
use super::rounds::{AtOnce, Came};
use crate::approval::{
    ApprovalEvent, ApprovalEvents, ApprovalId, ApprovalQuestion, ApprovalRequest, ApprovalState,
    ApprovalStore, Asked, CallDigest, NotDecided, Ruling, Used,
};
use crate::clock::Moment;
use crate::store::{Answer, Settled, StoreError, answer_of};
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

    pub(super) fn store(&self) -> Option<&Arc<dyn ApprovalStore>> {
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
        let asking = AwaitedApproval {
            store: Arc::clone(store),
            question: question.clone(),
            listening,
            at_once,
            nested,
            asked: None,
            stage: Stage::Ended,
        };
        match (decided, came) {
            (Some(request), _) | (None, Came::Waiting(request)) => asking.look_at(request),
            (None, Came::Afresh) => asking.ask(),
            (None, Came::Approving(request)) => asking.decide(request, Answered::Approved),
            (None, Came::Denying(request)) => asking.decide(request, Answered::Denied),
            (None, Came::TakingBack(request)) => asking.take_back(request),
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
    at_once: AtOnce,
    /// `None` once the client is asked, or if it is not.
    nested: Option<Nested>,
    /// Where the client was asked.
    asked: Option<ClientStream>,
    stage: Stage,
}

/// What a client says when it was asked to approve its own call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Approved,
    Denied,
}

enum Stage {
    /// It is told what the client says.
    Deciding(
        Waiting<Result<ApprovalRequest, NotDecided>, StoreError>,
        ApprovalId,
        Answered,
    ),
    /// It is told that the client does not want it any more.
    TakingBack(Waiting<bool, StoreError>),
    /// It is looked at what was decided.
    Looking(Waiting<Option<ApprovalRequest>, StoreError>),
    /// The store is asked.
    Asking(Waiting<Asked, StoreError>),
    /// Somebody has to decide.
    Pending(ApprovalRequest),
    Ended,
}

impl AwaitedApproval {
    /// Tells what the client says of its own call.
    fn decide(self, request: ApprovalId, answered: Answered) -> Approving {
        let ruling = Ruling::by_caller(answered == Answered::Approved);
        let now = self.question.at();
        match asked_of(|| self.store.decide(request, &ruling, now)).settle() {
            Settled::Known(decided) => self.decided(decided, request, answered),
            Settled::Awaited(waiting) => Approving::Awaited(Box::new(Self {
                stage: Stage::Deciding(waiting, request, answered),
                ..self
            })),
        }
    }

    /// Somebody else may have decided before: then it is looked at that, unless the
    /// client does not want the call.
    fn decided(
        self,
        decided: Result<Result<ApprovalRequest, NotDecided>, StoreError>,
        request: ApprovalId,
        answered: Answered,
    ) -> Approving {
        match (decided, answered) {
            (Err(error), _) => Approving::Known(Err(Unapproved::from(&error))),
            (Ok(_), Answered::Approved) => self.look_at(request),
            (Ok(Ok(denied)), Answered::Denied) => Approving::Known(Err(Unapproved::Denied(denied))),
            (Ok(Err(_)), Answered::Denied) => self.take_back(request),
        }
    }

    fn take_back(self, request: ApprovalId) -> Approving {
        let now = self.question.at();
        match asked_of(|| self.store.cancel(request, now)).settle() {
            Settled::Known(taken) => Approving::Known(Err(taken_back(&taken))),
            Settled::Awaited(waiting) => Approving::Awaited(Box::new(Self {
                stage: Stage::TakingBack(waiting),
                ..self
            })),
        }
    }

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
                    request,
                    call: *self.question.digest(),
                }));
            }
            Ok(Asked::Pending(request)) if self.holds(&request) => {
                let asked = self.nested.map(|nested| nested.ask(&request));
                return Approving::Awaited(Box::new(Self {
                    nested: None,
                    asked,
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

    /// Whether its client does not wait any more.
    fn is_given_up(&mut self, context: &mut Context<'_>) -> bool {
        let listening = self.listening.as_mut();
        listening.is_some_and(|listening| listening.hold.poll_ended(context).is_ready())
    }

    /// Whether it is waited for a decision about this request.
    fn holds(&self, request: &ApprovalRequest) -> bool {
        let is_new = || request.created_at() >= self.question.at().system;
        let at_once = match self.at_once {
            AtOnce::Never => false,
            AtOnce::IfNew => is_new(),
            AtOnce::Always => true,
        };
        self.listening.is_some() && !at_once
    }

    /// The same, for its next stage.
    fn take(&mut self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            question: self.question.clone(),
            listening: self.listening.take(),
            at_once: self.at_once,
            nested: self.nested.take(),
            asked: self.asked.take(),
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
                // Whoever takes the question polls again: it goes out before the time is over.
                Poll::Pending if self.asked.as_ref().is_some_and(ClientStream::is_asking) => {
                    return Poll::Pending;
                }
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
            let is_told = matches!(this.stage, Stage::Deciding(..) | Stage::TakingBack(_));
            if !is_told && this.is_given_up(context) {
                return Poll::Ready(Held::Settled(Err(Unapproved::TakenBack)));
            }
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
                Stage::Deciding(mut waiting, request, answered) => {
                    let Poll::Ready(decided) = Pin::new(&mut waiting).poll(context) else {
                        this.stage = Stage::Deciding(waiting, request, answered);
                        return Poll::Pending;
                    };
                    match this.take().decided(decided, request, answered) {
                        Approving::Known(result) => return Poll::Ready(Held::Settled(result)),
                        Approving::Awaited(awaited) => *this = *awaited,
                    }
                }
                Stage::TakingBack(mut waiting) => {
                    let Poll::Ready(taken) = Pin::new(&mut waiting).poll(context) else {
                        this.stage = Stage::TakingBack(waiting);
                        return Poll::Pending;
                    };
                    return Poll::Ready(Held::Settled(Err(taken_back(&taken))));
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

/// Nobody wants it any more, if the store has heard of that.
fn taken_back(taken: &Result<bool, StoreError>) -> Unapproved {
    match taken {
        Ok(_) => Unapproved::TakenBack,
        Err(error) => Unapproved::from(error),
    }
}

/// An approval that has not been used yet. To drop it uses nothing up.
pub(crate) struct Approved {
    store: Arc<dyn ApprovalStore>,
    pub(super) request: ApprovalRequest,
    call: CallDigest,
}

/// What became of using an approval.
pub(crate) type Using = Settled<Used>;

impl Approved {
    /// Uses it up, and cannot give it back.
    pub(super) fn use_up(self, now: Moment) -> Using {
        asked_of(|| self.store.use_up(self.request.id(), &self.call, now)).settle()
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
            .field("request", &self.request.id())
            .finish_non_exhaustive()
    }
}

pub(super) fn asked_of<T>(ask: impl FnOnce() -> Answer<T>) -> Answer<T> {
    answer_of("approval store", ask)
}
