//! What a request that was judged waits for until it may go on: its approval, what it
//! is charged, and that what may be used once is used by it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts as RequestHead;

use super::collect::Collected;
use super::config::Config;
use super::incoming::Incoming;
use super::judged::Judged;
use crate::approval::Used;
use crate::engine::{
    Approving, Arrival, AwaitedApproval, AwaitedCharge, Bill, Charging, ClientStream, Held,
    Patience, Resuming, Sessions, Telling, Using,
};
use crate::mcp::headers::Mirror;
use crate::store::StoreError;
use crate::waiting::Waiting;

/// A request that is still to be judged.
pub(super) struct Admission<S> {
    pub(super) head: RequestHead,
    pub(super) inner: S,
    pub(super) config: Arc<Config>,
    pub(super) arrival: Arrival,
    pub(super) sessions: Sessions,
    /// Where the client can be asked something while the request waits, if anywhere.
    pub(super) stream: Option<ClientStream>,
    /// How much longer it is waited for an approval; `None` until that is asked for.
    pub(super) patience: Option<Patience>,
}

impl<S> Admission<S> {
    /// With what the headers of this say of its message.
    pub(super) fn incoming<'r>(&'r self, mirror: &'r Mirror<'r>) -> Incoming<'r> {
        Incoming {
            config: &self.config,
            head: &self.head,
            mirror,
            arrival: self.arrival,
            sessions: &self.sessions,
            stream: self.stream.as_ref(),
            is_again: self.patience.is_some(),
        }
    }
}

/// A request that was judged, and may still have to wait.
pub(super) struct Undecided<S> {
    pub(super) judged: Box<Judged>,
    pub(super) admission: Box<Admission<S>>,
    pub(super) body: Option<Collected>,
}

/// A request that waits.
pub(super) struct Deciding<S> {
    awaited: Awaited,
    /// `None` once it does not wait any more.
    undecided: Option<Undecided<S>>,
}

/// What is waited for, in the order in which it is asked.
pub(super) enum Awaited {
    /// That somebody hears what it answers to a request of ours.
    Told(Telling),
    /// Whether it goes on with an earlier round.
    Resumed(Waiting<bool, StoreError>),
    /// Whether it could be charged: nobody is bothered with what could not.
    Checked(Box<AwaitedCharge>),
    /// That somebody approves it.
    Approved(Box<AwaitedApproval>),
    /// That it is charged.
    Charged(Box<AwaitedCharge>),
    /// That its approval is used by it.
    Used(Waiting<Used, StoreError>),
}

impl<S> Undecided<S> {
    /// Asks whatever has to be asked; gives what has to be waited for.
    pub(super) fn begin(&mut self) -> Option<Awaited> {
        match self.judged.tell() {
            Some(telling) => Some(Awaited::Told(telling)),
            None => self.check(),
        }
    }

    fn check(&mut self) -> Option<Awaited> {
        match self.judged.could_charge() {
            Some(Charging::Known(bill)) => self.judged.settle(bill),
            Some(Charging::Awaited(charge)) => return Some(Awaited::Checked(charge)),
            None => {}
        }
        self.approve()
    }

    fn approve(&mut self) -> Option<Awaited> {
        let patience = self.admission.patience.take();
        let length = self.body.as_ref().map_or(0, |body| body.bytes.len());
        match self.judged.approve(patience, length) {
            Some(Approving::Known(approved)) => self.judged.settle_approval(approved),
            Some(Approving::Awaited(approval)) => return Some(Awaited::Approved(approval)),
            None => {}
        }
        self.charge()
    }

    fn charge(&mut self) -> Option<Awaited> {
        match self.judged.charge() {
            Some(Charging::Known(bill)) => self.judged.settle(bill),
            Some(Charging::Awaited(charge)) => return Some(Awaited::Charged(charge)),
            None => {}
        }
        self.use_up()
    }

    /// What can be used once is used last: what does not go on uses nothing up.
    fn use_up(&mut self) -> Option<Awaited> {
        match self.judged.resume() {
            Some(Resuming::Known(goes_on)) => self.resumed(goes_on),
            Some(Resuming::Awaited(waiting)) => Some(Awaited::Resumed(waiting)),
            None => self.use_approval(),
        }
    }

    /// A state that was used before makes it another call.
    fn resumed(&mut self, goes_on: Result<bool, StoreError>) -> Option<Awaited> {
        match self.judged.settle_resume(goes_on) {
            true => self.use_approval(),
            false => self.check(),
        }
    }

    fn use_approval(&mut self) -> Option<Awaited> {
        match self.judged.use_up() {
            Some(Using::Known(used)) => self.judged.settle_use(&used),
            Some(Using::Awaited(using)) => return Some(Awaited::Used(using)),
            None => {}
        }
        None
    }

    /// What is left to be judged again: what was decided by the policy of that moment
    /// may be decided otherwise by now.
    pub(super) fn again(self, patience: Patience) -> (Box<Admission<S>>, Option<Collected>) {
        let Self {
            judged,
            mut admission,
            body,
        } = self;
        // It is not under way twice.
        drop(judged);
        admission.sessions.forget();
        admission.patience = Some(patience);
        (admission, body)
    }
}

impl<S> Deciding<S> {
    pub(super) fn new(undecided: Undecided<S>, awaited: Awaited) -> Self {
        Self {
            awaited,
            undecided: Some(undecided),
        }
    }

    /// Waits until nothing has to be waited for any more. If there is patience left, the
    /// request is to be judged again.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Patience>> {
        loop {
            let known = ready!(self.awaited.poll(context));
            let Some(undecided) = &mut self.undecided else {
                return Poll::Pending;
            };
            let judged = &mut undecided.judged;
            let awaited = match known {
                Known::Told(told) => {
                    judged.settle_told(told);
                    undecided.check()
                }
                Known::Resumed(goes_on) => undecided.resumed(goes_on),
                Known::Checked(bill) => {
                    judged.settle(bill);
                    undecided.approve()
                }
                Known::Approved(Held::Decided(patience)) => return Poll::Ready(Some(patience)),
                Known::Approved(Held::Settled(approved)) => {
                    judged.settle_approval(approved);
                    undecided.charge()
                }
                Known::Charged(bill) => {
                    judged.settle(bill);
                    undecided.use_up()
                }
                Known::Used(used) => {
                    judged.settle_use(&used);
                    None
                }
            };
            match awaited {
                Some(awaited) => self.awaited = awaited,
                None => return Poll::Ready(None),
            }
        }
    }

    /// The request, once it does not wait any more.
    pub(super) fn take(&mut self) -> Option<Undecided<S>> {
        self.undecided.take()
    }
}

/// What was waited for.
enum Known {
    Told(Result<(), StoreError>),
    Resumed(Result<bool, StoreError>),
    Checked(Bill),
    Approved(Held),
    Charged(Bill),
    Used(Result<Used, StoreError>),
}

impl Awaited {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Known> {
        match self {
            Self::Told(telling) => Pin::new(telling).poll(context).map(Known::Told),
            Self::Resumed(waiting) => Pin::new(waiting).poll(context).map(Known::Resumed),
            Self::Checked(charge) => Pin::new(charge).poll(context).map(Known::Checked),
            Self::Approved(approval) => Pin::new(approval).poll(context).map(Known::Approved),
            Self::Charged(charge) => Pin::new(charge).poll(context).map(Known::Charged),
            Self::Used(waiting) => Pin::new(waiting).poll(context).map(Known::Used),
        }
    }
}

/// Whoever asked does not wait any more. That somebody was asked for an approval is
/// recorded all the same.
impl<S> Drop for Deciding<S> {
    fn drop(&mut self) {
        if let (Awaited::Approved(_), Some(undecided)) = (&self.awaited, self.undecided.take()) {
            undecided.judged.give_up();
        }
    }
}

impl<S> fmt::Debug for Deciding<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deciding").finish_non_exhaustive()
    }
}
