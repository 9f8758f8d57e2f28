//! A request that was judged: what is asked of it until it goes on or is refused, and
//! how that is recorded.

use std::sync::Arc;

use super::config::Config;
use super::exchange::{Asked, Exchange, Follow, Waiting};
use super::incoming::Incoming;
use crate::approval::Used;
use crate::audit::{Ending, OpenDecisions, Receipt};
use crate::caller::Caller;
use crate::engine::{
    Approved, Approving, Arrival, Bill, Charged, Charging, ClientStream, Draft, HeldCall, Judge,
    OwnAnswer, Patience, Resuming, Shortage, Telling, Unapproved, Using, unused,
};
use crate::mcp::message::Id;
use crate::mcp::reply::{self, Refusal};
use crate::store::StoreError;

/// A request that was judged, and is still to be charged and recorded.
#[derive(Debug)]
pub(super) struct Judged {
    config: Arc<Config>,
    arrival: Arrival,
    asked: Asked,
    /// `None` if that could not be found out.
    caller: Option<Caller>,
    /// `None` if nothing could be asked.
    judge: Option<Judge>,
    first: Draft,
    /// Of the other messages of a batch.
    others: Vec<Draft>,
    /// Whether the body is, or should have been, a message.
    is_message: bool,
    own: Own,
    /// Where its client can be asked something while it waits.
    stream: Option<ClientStream>,
    /// The approval that it needs, until that is used.
    approved: Option<Approved>,
    charged: Option<Box<Charged>>,
}

/// What a request is to us and not to the server.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The call that its client does not wait for any more.
    pub(super) cancels: Option<HeldCall>,
    /// By what the client can say that of this one.
    pub(super) call: Option<HeldCall>,
    /// What it answers to a request of ours.
    pub(super) answers: Option<OwnAnswer>,
}

/// A request that was judged, charged and recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) result: Result<Exchange, Box<Refused>>,
    pub(super) open: OpenDecisions,
    /// Of the records of the decisions.
    pub(super) receipt: Receipt,
    /// Whether something runs by it.
    pub(super) runs: bool,
}

/// A request that may not go on.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) config: Arc<Config>,
    pub(super) refusal: Refusal,
    pub(super) asked: Asked,
    /// `None` if that could not be found out.
    pub(super) caller: Option<Caller>,
    /// Whether its body is, or should have been, a message.
    pub(super) is_message: bool,
}

/// Bytes of a body that may wait for an approval.
const MOST_HELD: usize = 128 * 1024;

impl Judged {
    /// What `first` says of a request, and of those who sent it. Boxed from the beginning:
    /// it goes through many hands.
    pub(super) fn new(
        incoming: Incoming<'_>,
        asked: Asked,
        caller: Option<Caller>,
        judge: Option<Judge>,
        first: Draft,
    ) -> Box<Self> {
        Box::new(Self {
            config: Arc::clone(incoming.config),
            arrival: incoming.arrival,
            asked,
            caller,
            judge,
            first,
            others: Vec::new(),
            is_message: false,
            own: Own::default(),
            stream: incoming.stream.cloned(),
            approved: None,
            charged: None,
        })
    }

    /// The same of one that is this to us.
    pub(super) fn being(mut self: Box<Self>, own: Own) -> Box<Self> {
        self.own = own;
        self
    }

    /// The same of a body that is, or should have been, a message.
    pub(super) fn of_message(mut self: Box<Self>) -> Box<Self> {
        self.is_message = true;
        self
    }

    /// Several messages of one caller, which go on together or not at all.
    pub(super) fn batch(
        incoming: Incoming<'_>,
        asked: Asked,
        judge: Judge,
        first: Draft,
        others: Vec<Draft>,
    ) -> Box<Self> {
        let caller = Some(judge.caller().clone());
        let mut judged = Self::new(incoming, asked, caller, Some(judge), first).of_message();
        judged.others = others;
        // What waits comes by itself.
        judged.stream = None;
        judged.drafts_mut().for_each(Draft::refuse_to_wait);
        judged.refuse_together();
        judged
    }

    /// Tells what it answers to a request of ours, if it does; to be followed by
    /// [`settle_told`](Self::settle_told).
    pub(super) fn tell(&self) -> Option<Telling> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        Some(self.config.engine.tell_own_answer(self.own.answers?, judge))
    }

    /// Whether that was heard. The server hears nothing of it.
    pub(super) fn settle_told(&mut self, told: Result<(), StoreError>) {
        match told {
            Ok(()) => self.first.refusal = Some(Refusal::Taken),
            Err(error) => self.first.refuse_untold(&error),
        }
    }

    /// Asks whether it goes on, if it brings a state for that; to be followed by
    /// [`settle_resume`](Self::settle_resume).
    pub(super) fn resume(&self) -> Option<Resuming> {
        let state = self.first.continues()?;
        Some(self.config.engine.use_state(state))
    }

    /// Whether it goes on; if it is another call, it is to be charged and approved like
    /// that.
    pub(super) fn settle_resume(&mut self, goes_on: Result<bool, StoreError>) -> bool {
        let goes_on_or_not = goes_on.as_ref().is_ok_and(|goes_on| *goes_on);
        if !goes_on_or_not {
            self.charged = None;
        }
        self.first.resume(goes_on);
        self.refuse_together();
        goes_on_or_not
    }

    /// Asks whether it could be charged, if it has to be approved; to be followed by
    /// [`settle`](Self::settle).
    pub(super) fn could_charge(&self) -> Option<Charging> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        // What is not wanted any more need not be affordable.
        self.first
            .question()
            .filter(|_| !self.first.is_taken_back())?;
        let engine = &self.config.engine;
        Some(engine.could_charge(judge, self.arrival, &self.first))
    }

    /// Asks for the approval that it needs, if it may go on otherwise; to be followed
    /// by [`settle_approval`](Self::settle_approval).
    pub(super) fn approve(&self, patience: Option<Patience>, length: usize) -> Option<Approving> {
        let question = self.first.question()?;
        let judge = self.judge.as_ref()?;
        // Somebody who is asked has to read that first.
        let time = match self.first.asks_while_it_waits() {
            true => self.config.approval_wait.saturating_mul(2),
            false => self.config.approval_wait,
        };
        // What is large is not held: all requests have one budget together.
        let patience =
            (length <= MOST_HELD).then(|| patience.unwrap_or_else(|| Patience::of(time)));
        let id = match &self.asked.waiting {
            Waiting::One(id) => Some(id),
            Waiting::Nobody | Waiting::Batch(_) => None,
        };
        let call = self.own.call.clone();
        let stream = self.stream.as_ref().zip(id);
        let wait = self.first.wait(judge, patience, call, stream);
        Some(self.config.engine.approve(question, wait))
    }

    /// Whether it was approved.
    pub(super) fn settle_approval(&mut self, approved: Result<Approved, Unapproved>) {
        self.approved = self.first.settle(approved);
        self.refuse_together();
    }

    /// Uses its approval up, if it may go on by that; to be followed by
    /// [`settle_use`](Self::settle_use).
    pub(super) fn use_up(&mut self) -> Option<Using> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        let approved = self.approved.take()?;
        Some(self.config.engine.use_up(judge, approved))
    }

    /// What became of using the approval: without it, nothing is charged either.
    pub(super) fn settle_use(&mut self, used: &Result<Used, StoreError>) {
        if let Some(why) = unused(used) {
            self.charged = None;
            self.settle_approval(Err(why));
        }
    }

    /// Charges what it uses up, if it may go on; to be followed by
    /// [`settle`](Self::settle).
    pub(super) fn charge(&self) -> Option<Charging> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        let engine = &self.config.engine;
        Some(engine.charge(judge, self.arrival, self.drafts()))
    }

    /// What it was charged, or why it cannot be.
    pub(super) fn settle(&mut self, bill: Bill) {
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

    /// If one message of a batch is refused, all are.
    fn refuse_together(&mut self) {
        if !self.is_refused() {
            return;
        }
        self.asked.calls.clear();
        for draft in self.drafts_mut() {
            if draft.refusal.is_none() {
                draft.refuse_for(Refusal::malformed(
                    "Not sent, because another message of the batch is refused. \
                     Send this one again by itself.",
                ));
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.drafts().any(|draft| draft.refusal.is_some())
    }

    /// The body as the server is to see it, if that is not what was sent.
    pub(super) fn rewritten(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let brought = self.first.brought().filter(|_| !self.is_refused())?;
        match brought.as_forwarded(body)? {
            Ok(body) => Some(body),
            Err(refusal) => {
                self.first.refuse_for(refusal);
                None
            }
        }
    }

    /// Nobody waits for it any more, while it waits for an approval.
    pub(super) fn give_up(mut self: Box<Self>) {
        self.settle_approval(Err(Unapproved::TakenBack));
        let Recorded { open, receipt, .. } = self.record();
        // Nobody waits for the records either.
        drop(receipt.and(open.end(Ending::Cancelled)));
    }

    /// It is refused if it is hidden, and has cost what everything else does.
    pub(super) fn refuse_hidden(&mut self) {
        if self.first.refuse_hidden(&mut self.charged) {
            self.refuse_together();
        }
    }

    /// Takes what was for us alone: a call that is held is not known to the server.
    pub(super) fn take_ours(&mut self) {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused());
        let ended = judge
            .zip(self.own.cancels.as_ref())
            .is_some_and(|(judge, call)| self.config.engine.end_hold(judge, call));
        if ended {
            self.first.refusal = Some(Refusal::Taken);
        }
    }

    /// Records what was decided.
    pub(super) fn record(self: Box<Self>) -> Recorded {
        let refusal = self.refusal();
        let runs = self.drafts().any(|draft| draft.runs);
        let is_charged = self.charged.is_some();
        let following = self
            .judge
            .as_ref()
            .and_then(|judge| self.first.following(judge, is_charged));
        let engine = &self.config.engine;
        let (open, mut receipt) = engine.decided(&self.first);
        let mut open = OpenDecisions::from(open);
        for draft in &self.others {
            let (other, its_receipt) = engine.decided(draft);
            open.push(other);
            receipt = receipt.and(its_receipt);
        }
        let result = match (refusal, self.judge) {
            (None, Some(judge)) => Ok(Exchange {
                config: self.config,
                judge,
                asked: self.asked,
                charged: self.charged,
                following: following.map(|following| Follow::new(following, open.record())),
            }),
            // There is a judge wherever nothing is refused.
            (refusal, _) => Err(Box::new(Refused {
                refusal: refusal.unwrap_or(Refusal::Failed),
                config: self.config,
                asked: self.asked,
                caller: self.caller,
                is_message: self.is_message,
            })),
        };
        Recorded {
            result,
            open,
            receipt,
            runs,
        }
    }

    fn drafts(&self) -> impl Iterator<Item = &Draft> + Clone {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn drafts_mut(&mut self) -> impl Iterator<Item = &mut Draft> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// What whoever waits is told, if it may not go on.
    fn refusal(&self) -> Option<Refusal> {
        let first = self.drafts().find_map(|draft| draft.refusal.as_ref())?;
        let Waiting::Batch(ids) = &self.asked.waiting else {
            return Some(first.clone());
        };
        let requests = self.drafts().filter(|draft| draft.is_request());
        let refusals = ids
            .iter()
            .zip(requests)
            .filter_map(|(id, draft)| Some((Id::from_raw(id), draft.refusal.as_ref()?)));
        reply::batch(refusals, self.asked.era).or_else(|| Some(first.clone()))
    }
}
