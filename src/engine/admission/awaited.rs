//! Waits for what a message needs until it is admitted or refused.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::Admission;
use crate::approval::ApprovalUsed;
use crate::engine::Engine;
use crate::engine::approve::{Approved, AwaitedApproval, Held, Patience, Unapproved};
use crate::engine::charge::{AwaitedCharge, Bill};
use crate::engine::nested::Telling;
use crate::store::StoreError;
use crate::waiting::Waiting;

/// A message that is to be admitted, with what only its transport knows of it.
pub(crate) trait Entrant {
    /// What it is admitted by, and how far it is.
    fn admission(&mut self) -> (&Engine, &mut Admission);
}

/// What became of admitting a message.
pub(crate) enum Admitting<E: Entrant> {
    /// It is admitted or refused.
    Known(E),
    Awaited(Box<AwaitedAdmission<E>>),
}

/// Asks whatever has to be asked of a message that was judged.
pub(crate) fn admit<E: Entrant>(mut entrant: E) -> Admitting<E> {
    let (engine, admission) = entrant.admission();
    match admission.begin(engine) {
        Some(awaited) => Admitting::Awaited(Box::new(AwaitedAdmission {
            awaited,
            entrant: Some(entrant),
        })),
        None => Admitting::Known(entrant),
    }
}

/// A message that waits. If this is dropped, what it was charged is given back, and that
/// somebody was asked for an approval is recorded all the same.
pub(crate) struct AwaitedAdmission<E: Entrant> {
    awaited: Awaited,
    /// `None` once it does not wait any more.
    entrant: Option<E>,
}

/// How waiting ended.
pub(crate) enum Ended<E> {
    /// It is admitted or refused.
    Settled(E),
    /// Somebody has decided about it: by now another policy may hold, so all of it is to
    /// be judged again. Until then it is not admitted.
    Again(E, Patience),
}

impl<E: Entrant> AwaitedAdmission<E> {
    /// Waits until nothing has to be waited for any more.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended<E>> {
        loop {
            let known = ready!(self.awaited.poll(context));
            let Some(entrant) = &mut self.entrant else {
                return Poll::Pending;
            };
            let (engine, admission) = entrant.admission();
            let awaited = match known {
                Known::Told(told) => admission.told(told, engine),
                Known::Resumed(goes_on) => admission.resumed(goes_on, engine),
                Known::Checked(bill) => admission.checked(bill, engine),
                Known::Approved(approved) => admission.approved(approved, engine),
                Known::Charged(bill) => admission.charged(bill, engine),
                Known::Used(used) => admission.used(&used, engine),
                Known::Decided(patience) => {
                    return self.end(|entrant| Ended::Again(entrant, patience));
                }
            };
            match awaited {
                Some(awaited) => self.awaited = awaited,
                None => return self.end(Ended::Settled),
            }
        }
    }

    fn end(&mut self, ended: impl FnOnce(E) -> Ended<E>) -> Poll<Ended<E>> {
        let entrant = self.entrant.take();
        entrant.map_or(Poll::Pending, |entrant| Poll::Ready(ended(entrant)))
    }
}

impl<E: Entrant> Drop for AwaitedAdmission<E> {
    fn drop(&mut self) {
        if let Some(entrant) = &mut self.entrant {
            let (engine, admission) = entrant.admission();
            admission.give_up(engine);
        }
    }
}

/// What is waited for, in the order in which it is asked.
pub(super) enum Awaited {
    /// That somebody hears what it answers to a request of ours.
    Told(Telling),
    /// Whether it could be charged.
    Checked(Box<AwaitedCharge>),
    /// That somebody approves it.
    Approved(Box<AwaitedApproval>),
    /// That it is charged.
    Charged(Box<AwaitedCharge>),
    /// Whether it goes on with an earlier round.
    Resumed(Waiting<bool, StoreError>),
    /// That its approval is used by it.
    Used(Waiting<ApprovalUsed, StoreError>),
}

/// What was waited for.
enum Known {
    Told(Result<(), StoreError>),
    Checked(Bill),
    Approved(Result<Approved, Unapproved>),
    /// Somebody has decided about its approval.
    Decided(Patience),
    Charged(Bill),
    Resumed(Result<bool, StoreError>),
    Used(Result<ApprovalUsed, StoreError>),
}

impl Awaited {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Known> {
        match self {
            Self::Told(telling) => Pin::new(telling).poll(context).map(Known::Told),
            Self::Checked(charge) => Pin::new(charge).poll(context).map(Known::Checked),
            Self::Approved(approval) => Pin::new(approval).poll(context).map(|held| match held {
                Held::Settled(approved) => Known::Approved(approved),
                Held::Decided(patience) => Known::Decided(patience),
            }),
            Self::Charged(charge) => Pin::new(charge).poll(context).map(Known::Charged),
            Self::Resumed(waiting) => Pin::new(waiting).poll(context).map(Known::Resumed),
            Self::Used(waiting) => Pin::new(waiting).poll(context).map(Known::Used),
        }
    }
}
