//! How a message that was judged is admitted: in one order, whichever way it came.
//!
//! Whoever asked us something is told what it answers. Then it is asked whether it could
//! be charged, so that nobody is bothered with what could not; somebody approves it; it is
//! charged; what can be used once is used by it; and what is hidden is refused, once it
//! has cost what everything else does. What has not come to this end does not go on.

mod awaited;

use std::sync::Arc;
use std::time::Duration;

use self::awaited::Awaited;
pub(crate) use self::awaited::{Admitting, AwaitedAdmission, Ended, Entrant, admit};
use super::Engine;
use super::account::{Arrival, Draft};
use super::approve::{Approved, Approving, Patience, Unapproved, Using};
use super::charge::{Bill, Charged, Charging, Resuming, Shortage};
use super::holds::HeldCall;
use super::judge::Judge;
use super::nested::{ClientStream, OwnAnswer, Telling};
use super::rounds::Following;
use crate::approval::ApprovalUsed;
use crate::audit::{Ending, OpenDecisions, Receipt};
use crate::mcp::reply::Refusal;
use crate::store::StoreError;

/// A message that was judged, or several that go on together or not at all, until it is
/// admitted or refused. What it was charged is given back if this is dropped before.
#[derive(Debug)]
pub(crate) struct Admission {
    arrival: Arrival,
    /// `None` if nothing could be asked.
    judge: Option<Judge>,
    first: Draft,
    /// Of the other messages of a batch.
    others: Vec<Draft>,
    /// `None` if it is nothing to us.
    own: Option<Box<Own>>,
    /// `None` if it does not wait until it is approved.
    holding: Option<Holding>,
    /// The approval that it needs, until that is used.
    approved: Option<Approved>,
    /// Whether somebody may have been asked for that, or may have decided.
    has_asked: bool,
    charged: Option<Box<Charged>>,
    /// Whether everything was asked that has to be.
    is_through: bool,
}

/// What a message is to us and not to the server.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// The call that its client does not wait for any more.
    pub(crate) cancels: Option<HeldCall>,
    /// By what the client can say that of this one.
    pub(crate) call: Option<HeldCall>,
    /// What it answers to a request of ours.
    pub(crate) answers: Option<OwnAnswer>,
}

/// How a message waits until somebody has approved it.
#[derive(Debug)]
pub(crate) struct Holding {
    /// For how long.
    pub(crate) time: Duration,
    /// What is left of that, if it has waited before.
    pub(crate) patience: Option<Patience>,
    /// Where its client can be asked meanwhile, and by what id of its call, as that was
    /// written.
    pub(crate) stream: Option<(ClientStream, Arc<[u8]>)>,
}

/// A message of which it is recorded what was decided.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// `None` if it may go on.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) open: OpenDecisions,
    /// Of the records of the decisions.
    pub(crate) receipt: Receipt,
    /// Whether something runs by it.
    pub(crate) runs: bool,
}

/// What is known of a message that may go on.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) judge: Judge,
    /// What it was charged; `None` if it uses up nothing.
    pub(crate) charged: Option<Box<Charged>>,
    /// What has to be known if the server asks for another round.
    pub(crate) following: Option<Following>,
}

impl Admission {
    pub(crate) fn new(arrival: Arrival, judge: Option<Judge>, first: Draft) -> Self {
        Self {
            arrival,
            judge,
            first,
            others: Vec::new(),
            own: None,
            holding: None,
            approved: None,
            has_asked: false,
            charged: None,
            is_through: false,
        }
    }

    /// The same with these messages of one batch. None of them waits: what waits comes by
    /// itself.
    pub(crate) fn with_others(mut self, others: Vec<Draft>) -> Self {
        self.others = others;
        self.drafts_mut().for_each(Draft::refuse_to_wait);
        self.refuse_together();
        self
    }

    /// It is this to us.
    pub(crate) fn is_own(&mut self, own: Option<Box<Own>>) {
        self.own = own;
    }

    /// Whether somebody has to approve it, unless that was done with an earlier round.
    pub(crate) fn may_wait(&self) -> bool {
        self.first.may_wait()
    }

    /// It waits so until it is approved.
    pub(crate) fn hold(&mut self, holding: Holding) {
        self.has_asked |= holding.patience.is_some();
        self.holding = Some(holding);
    }

    pub(crate) fn drafts(&self) -> impl Iterator<Item = &Draft> + Clone {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn drafts_mut(&mut self) -> impl Iterator<Item = &mut Draft> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    fn is_refused(&self) -> bool {
        self.drafts().any(|draft| draft.refusal.is_some())
    }

    /// The judge, if nothing is refused yet.
    fn judge(&self) -> Option<&Judge> {
        self.judge.as_ref().filter(|_| !self.is_refused())
    }

    /// If one message of a batch is refused, all are.
    fn refuse_together(&mut self) {
        if !self.is_refused() {
            return;
        }
        for draft in self.drafts_mut() {
            if draft.refusal.is_none() {
                draft.refuse_for(Refusal::malformed(
                    "Not sent, because another message of the batch is refused. \
                     Send this one again by itself.",
                ));
            }
        }
    }

    /// The message as the server is to see it, if that is not what was sent.
    pub(crate) fn rewritten(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let brought = self.first.brought().filter(|_| !self.is_refused())?;
        match brought.as_forwarded(message)? {
            Ok(message) => Some(message),
            Err(refusal) => {
                self.first.refuse_for(refusal);
                None
            }
        }
    }

    /// Records what was decided.
    pub(crate) fn record(&mut self, engine: &Engine) -> Recorded {
        if !self.is_through && !self.is_refused() {
            self.settle_approval(Err(Unapproved::Store));
        }
        let (open, mut receipt) = engine.decided(&self.first);
        let mut open = OpenDecisions::from(open);
        for draft in &self.others {
            let (other, its_receipt) = engine.decided(draft);
            open.push(other);
            receipt = receipt.and(its_receipt);
        }
        let refusal = self.drafts().find_map(|draft| draft.refusal.clone());
        // There is a judge wherever nothing is refused.
        let refusal = refusal.or_else(|| self.judge.is_none().then_some(Refusal::Failed));
        if refusal.is_some() {
            self.charged = None;
        }
        Recorded {
            refusal,
            open,
            receipt,
            runs: self.drafts().any(|draft| draft.runs),
        }
    }

    /// What is known of it once it is recorded that it may go on: this is told once.
    pub(crate) fn admitted(&mut self) -> Option<Admitted> {
        let judge = self.judge.take()?;
        let charged = self.charged.take();
        Some(Admitted {
            following: self.first.following(&judge, charged.is_some()),
            judge,
            charged,
        })
    }
}

/// The order.
impl Admission {
    /// Asks whatever has to be asked; gives what has to be waited for.
    fn begin(&mut self, engine: &Engine) -> Option<Awaited> {
        match self.tell(engine) {
            Some(telling) => Some(Awaited::Told(telling)),
            None => self.check(engine),
        }
    }

    fn told(&mut self, told: Result<(), StoreError>, engine: &Engine) -> Option<Awaited> {
        match told {
            // The server hears nothing of it.
            Ok(()) => self.first.refusal = Some(Refusal::Taken),
            Err(error) => self.first.refuse_untold(&error),
        }
        self.check(engine)
    }

    fn check(&mut self, engine: &Engine) -> Option<Awaited> {
        match self.could_charge(engine) {
            Some(Charging::Known(bill)) => self.checked(bill, engine),
            Some(Charging::Awaited(charge)) => Some(Awaited::Checked(charge)),
            None => self.approve(engine),
        }
    }

    fn checked(&mut self, bill: Bill, engine: &Engine) -> Option<Awaited> {
        self.settle_bill(bill);
        self.approve(engine)
    }

    fn approve(&mut self, engine: &Engine) -> Option<Awaited> {
        match self.ask_for_approval(engine) {
            Some(Approving::Known(approved)) => self.approved(approved, engine),
            Some(Approving::Awaited(approval)) => Some(Awaited::Approved(approval)),
            None => self.charge(engine),
        }
    }

    fn approved(
        &mut self,
        approved: Result<Approved, Unapproved>,
        engine: &Engine,
    ) -> Option<Awaited> {
        self.settle_approval(approved);
        self.charge(engine)
    }

    fn charge(&mut self, engine: &Engine) -> Option<Awaited> {
        match self.reserve(engine) {
            Some(Charging::Known(bill)) => self.charged(bill, engine),
            Some(Charging::Awaited(charge)) => Some(Awaited::Charged(charge)),
            None => self.resume(engine),
        }
    }

    fn charged(&mut self, bill: Bill, engine: &Engine) -> Option<Awaited> {
        self.settle_bill(bill);
        self.resume(engine)
    }

    /// What can be used once is used last: what does not go on uses nothing up.
    fn resume(&mut self, engine: &Engine) -> Option<Awaited> {
        match self.use_state(engine) {
            Some(Resuming::Known(goes_on)) => self.resumed(goes_on, engine),
            Some(Resuming::Awaited(waiting)) => Some(Awaited::Resumed(waiting)),
            None => self.use_up(engine),
        }
    }

    /// A state that was used before makes it another call, to be charged and approved like
    /// that.
    fn resumed(&mut self, goes_on: Result<bool, StoreError>, engine: &Engine) -> Option<Awaited> {
        engine.note_state(&goes_on);
        let is_the_same = goes_on.as_ref().is_ok_and(|goes_on| *goes_on);
        if !is_the_same {
            self.charged = None;
        }
        self.first.resume(goes_on);
        self.refuse_together();
        match is_the_same {
            true => self.use_up(engine),
            false => self.check(engine),
        }
    }

    fn use_up(&mut self, engine: &Engine) -> Option<Awaited> {
        match self.use_approval(engine) {
            Some(Using::Known(used)) => self.used(&used, engine),
            Some(Using::Awaited(using)) => Some(Awaited::Used(using)),
            None => self.end(engine),
        }
    }

    /// Without its approval, nothing is charged either.
    fn used(
        &mut self,
        used: &Result<ApprovalUsed, StoreError>,
        engine: &Engine,
    ) -> Option<Awaited> {
        if let Some(why) = engine.unused(used) {
            self.charged = None;
            self.settle_approval(Err(why));
        }
        self.end(engine)
    }

    fn end(&mut self, engine: &Engine) -> Option<Awaited> {
        self.take_ours(engine);
        if self.first.refuse_hidden(&mut self.charged) {
            self.refuse_together();
        }
        self.is_through = true;
        None
    }

    /// Nobody waits for it any more. That somebody was asked for an approval, which it may
    /// have used, is recorded all the same.
    fn give_up(&mut self, engine: &Engine) {
        if !self.has_asked {
            return;
        }
        self.settle_approval(Err(Unapproved::TakenBack));
        let Recorded { open, receipt, .. } = self.record(engine);
        // Nobody waits for the records either.
        drop(receipt.and(open.end(Ending::Cancelled)));
    }
}

/// What is asked, and what comes of it.
impl Admission {
    fn tell(&self, engine: &Engine) -> Option<Telling> {
        let judge = self.judge()?;
        Some(engine.tell_own_answer(self.own.as_ref()?.answers?, judge))
    }

    fn could_charge(&self, engine: &Engine) -> Option<Charging> {
        let judge = self.judge()?;
        // What is not wanted any more need not be affordable.
        let is_asked = self.first.question().is_some() && !self.first.is_taken_back();
        is_asked.then(|| engine.could_charge(judge, self.arrival, &self.first))
    }

    fn ask_for_approval(&mut self, engine: &Engine) -> Option<Approving> {
        let question = self.first.question()?;
        let judge = self.judge.as_ref()?;
        let holding = self.holding.as_mut();
        let patience = holding.map(|holding| {
            // Somebody who is asked has to read that first.
            let time = match self.first.asks_while_it_waits() {
                true => holding.time.saturating_mul(2),
                false => holding.time,
            };
            let patience = holding.patience.take();
            patience.unwrap_or_else(|| Patience::of(time))
        });
        let stream = self.holding.as_ref().and_then(|it| it.stream.as_ref());
        let call = self.own.as_ref().and_then(|own| own.call.clone());
        let wait = self.first.wait(judge, patience, call, stream);
        self.has_asked = true;
        Some(engine.approve(question, wait))
    }

    fn settle_approval(&mut self, approved: Result<Approved, Unapproved>) {
        self.approved = self.first.settle(approved);
        self.refuse_together();
    }

    fn reserve(&self, engine: &Engine) -> Option<Charging> {
        let judge = self.judge()?;
        Some(engine.charge(judge, self.arrival, self.drafts()))
    }

    /// What it was charged, or why it cannot be.
    fn settle_bill(&mut self, bill: Bill) {
        let shortage = match bill {
            Ok(paid) => {
                self.charged = paid.charged;
                if let Some(quota) = paid.over {
                    let over = |draft: &&mut Draft| draft.uses_up(&quota);
                    self.drafts_mut()
                        .filter(over)
                        .for_each(|draft| draft.note_over(&quota));
                }
                return;
            }
            Err(shortage) => shortage,
        };
        let is_short = |draft: &&mut Draft| match &shortage {
            Shortage::Exceeded { quota, .. } => draft.uses_up(quota),
            Shortage::Full | Shortage::Store | Shortage::Failed => {
                draft.spending().next().is_some()
            }
        };
        self.drafts_mut()
            .filter(is_short)
            .for_each(|draft| draft.refuse(&shortage));
        self.refuse_together();
    }

    fn use_state(&self, engine: &Engine) -> Option<Resuming> {
        let state = self.first.continues()?;
        Some(engine.use_state(state))
    }

    fn use_approval(&mut self, engine: &Engine) -> Option<Using> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        let approved = self.approved.take()?;
        Some(engine.use_up(judge, approved))
    }

    /// Takes what was for us alone: a call that is held is not known to the server.
    fn take_ours(&mut self, engine: &Engine) {
        let ended = self
            .judge()
            .zip(self.own.as_ref().and_then(|own| own.cancels.as_ref()))
            .is_some_and(|(judge, call)| engine.end_hold(judge, call));
        if ended {
            self.first.refusal = Some(Refusal::Taken);
        }
    }
}
