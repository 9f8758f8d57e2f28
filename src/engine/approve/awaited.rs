//! Waits until somebody has decided about a call, but not for long.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream as _;

use super::{Approved, Approving, Listening, Patience, Unapproved, asked_of};
use crate::approval::{
    ApprovalAsked, ApprovalEvent, ApprovalId, ApprovalQuestion, ApprovalRequest, ApprovalState,
    ApprovalStore, NotDecided, Ruling,
};
use crate::engine::nested::{ClientStream, Nested};
use crate::engine::rounds::AtOnce;
use crate::store::{Settled, StoreError, Watched};
use crate::waiting::Waiting;

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
    store: Arc<Watched<dyn ApprovalStore>>,
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
pub(super) enum Answered {
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
    Asking(Waiting<ApprovalAsked, StoreError>),
    /// Somebody has to decide.
    Pending(ApprovalRequest),
    Ended,
}

impl AwaitedApproval {
    /// One of which nothing was asked yet.
    pub(super) fn new(
        store: Arc<Watched<dyn ApprovalStore>>,
        question: ApprovalQuestion,
        listening: Option<Listening>,
        (at_once, nested): (AtOnce, Option<Nested>),
    ) -> Self {
        Self {
            store,
            question,
            listening,
            at_once,
            nested,
            asked: None,
            stage: Stage::Ended,
        }
    }

    /// Tells what the client says of its own call.
    pub(super) fn decide(self, request: ApprovalId, answered: Answered) -> Approving {
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
        self.store.note(&decided);
        match (decided, answered) {
            (Err(error), _) => Approving::Known(Err(Unapproved::from(&error))),
            (Ok(_), Answered::Approved) => self.look_at(request),
            (Ok(Ok(denied)), Answered::Denied) => Approving::Known(Err(Unapproved::Denied(denied))),
            (Ok(Err(_)), Answered::Denied) => self.take_back(request),
        }
    }

    pub(super) fn take_back(self, request: ApprovalId) -> Approving {
        let now = self.question.at();
        match asked_of(|| self.store.cancel(request, now)).settle() {
            Settled::Known(taken) => self.taken_back(&taken),
            Settled::Awaited(waiting) => Approving::Awaited(Box::new(Self {
                stage: Stage::TakingBack(waiting),
                ..self
            })),
        }
    }

    /// Nobody wants it any more, if the store has heard of that.
    fn taken_back(self, taken: &Result<bool, StoreError>) -> Approving {
        self.store.note(taken);
        Approving::Known(Err(match taken {
            Ok(_) => Unapproved::TakenBack,
            Err(error) => Unapproved::from(error),
        }))
    }

    /// Looks at what was decided. Where it is over already, nobody is asked again for
    /// the same call.
    pub(super) fn look_at(self, request: ApprovalId) -> Approving {
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
        self.store.note(found);
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

    pub(super) fn ask(self) -> Approving {
        match asked_of(|| self.store.ask(&self.question)).settle() {
            Settled::Known(answer) => self.answered(answer),
            Settled::Awaited(waiting) => Approving::Awaited(Box::new(Self {
                stage: Stage::Asking(waiting),
                ..self
            })),
        }
    }

    fn answered(self, answer: Result<ApprovalAsked, StoreError>) -> Approving {
        self.store.note(&answer);
        Approving::Known(Err(match answer {
            Ok(ApprovalAsked::Approved(request)) => {
                return Approving::Known(Ok(Approved {
                    store: self.store,
                    request,
                    call: *self.question.digest(),
                }));
            }
            Ok(ApprovalAsked::Pending(request)) if self.holds(&request) => {
                let asked = self.nested.map(|nested| nested.ask(&request));
                return Approving::Awaited(Box::new(Self {
                    nested: None,
                    asked,
                    stage: Stage::Pending(request),
                    ..self
                }));
            }
            Ok(ApprovalAsked::Pending(request)) => Unapproved::Pending(request),
            Ok(ApprovalAsked::Denied(request)) => Unapproved::Denied(request),
            Ok(ApprovalAsked::Full) => Unapproved::Full,
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
        self.stage = Stage::Ended;
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

    /// What comes of what the store answers.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Approving> {
        Poll::Ready(match &mut self.stage {
            Stage::Looking(waiting) => {
                let found = ready!(Pin::new(waiting).poll(context));
                self.take().looked_at(&found)
            }
            Stage::Asking(waiting) => {
                let answer = ready!(Pin::new(waiting).poll(context));
                self.take().answered(answer)
            }
            Stage::Deciding(waiting, request, answered) => {
                let (request, answered) = (*request, *answered);
                let decided = ready!(Pin::new(waiting).poll(context));
                self.take().decided(decided, request, answered)
            }
            Stage::TakingBack(waiting) => {
                let taken = ready!(Pin::new(waiting).poll(context));
                self.take().taken_back(&taken)
            }
            Stage::Pending(_) | Stage::Ended => Approving::Known(Err(Unapproved::Store)),
        })
    }

    /// How waiting for a decision ended: with one, if there is patience left.
    fn held(&mut self, patience: Option<Patience>) -> Held {
        match (std::mem::replace(&mut self.stage, Stage::Ended), patience) {
            (_, Some(patience)) => Held::Decided(patience),
            (Stage::Pending(request), None) => Held::Settled(Err(Unapproved::Pending(request))),
            (_, None) => Held::Settled(Err(Unapproved::Store)),
        }
    }

    /// Waits until something was decided about this request; or not any longer.
    fn poll_decided(
        &mut self,
        request: ApprovalId,
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
                    id == request && state != ApprovalState::Pending
                }
                Some(ApprovalEvent::Missed) => true,
                None => return Poll::Ready(None),
            };
            if is_decided {
                let listening = self.listening.take();
                return Poll::Ready(listening.map(|listening| Patience {
                    decided: Some(request),
                    ..listening.patience
                }));
            }
        }
    }
}

impl Future for AwaitedApproval {
    type Output = Held;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Held> {
        loop {
            let is_told = matches!(self.stage, Stage::Deciding(..) | Stage::TakingBack(_));
            if !is_told && self.is_given_up(context) {
                return Poll::Ready(Held::Settled(Err(Unapproved::TakenBack)));
            }
            if let Stage::Pending(request) = &self.stage {
                let request = request.id();
                let patience = ready!(self.poll_decided(request, context));
                return Poll::Ready(self.held(patience));
            }
            match ready!(self.poll_answer(context)) {
                Approving::Known(result) => return Poll::Ready(Held::Settled(result)),
                Approving::Awaited(awaited) => *self = *awaited,
            }
        }
    }
}

impl fmt::Debug for AwaitedApproval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitedApproval").finish_non_exhaustive()
    }
}
