//! What is recorded of a message.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use smallvec::SmallVec;

use super::approve::{Approved, Approving, Patience, Unapproved, Using};
use super::charge::{Charging, Payer, Shortage};
use super::judge::{Judge, Judgement};
use super::{Engine, words};
use crate::approval::{self, ApprovalQuestion, Demand};
use crate::audit::{
    DecisionId, DecisionRecord, Facts, MessageKind, OpenDecision, Receipt, Shadow, Verdict,
    argument_keys, session_digest,
};
use crate::caller::Caller;
use crate::mcp::message::{Call, Message};
use crate::mcp::params::{Name, Param};
use crate::mcp::reply::{Refusal, Thing};
use crate::mcp::shown;
use crate::mcp::version::Era;
use crate::policy::{Approver, Quota, Spending};

/// When a message came, and the id under which it is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) decision: DecisionId,
    pub(crate) since: Instant,
}

impl Arrival {
    pub(crate) fn now() -> Self {
        Self {
            decision: DecisionId::next(),
            since: Instant::now(),
        }
    }
}

/// What was seen of a message, beside what it was judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'m, 'b> {
    pub(crate) caller: Option<&'m Caller>,
    /// The session that it names.
    pub(crate) session: Option<&'m str>,
    pub(crate) era: Era,
    pub(crate) kind: MessageKind,
    pub(crate) call: Option<&'m Call<'b>>,
}

impl<'m, 'b> Seen<'m, 'b> {
    /// The same of a message that could be read.
    pub(crate) fn with_message(self, message: &'m Message<'b>) -> Self {
        let (kind, call) = match message {
            Message::Request(_, call) => (MessageKind::Request, Some(call)),
            Message::Notification(call) => (MessageKind::Notification, Some(call)),
            Message::Response => (MessageKind::Response, None),
        };
        Self { kind, call, ..self }
    }

    fn begins_session(&self) -> bool {
        self.call.is_some_and(|call| call.method == "initialize")
    }
}

/// A message that was judged, and is still to be charged and recorded.
#[derive(Debug)]
pub(crate) struct Draft {
    facts: Facts,
    since: Instant,
    /// Whether something runs by it.
    pub(crate) runs: bool,
    thing: Option<Thing>,
    spending: SmallVec<[Spending; 2]>,
    /// What somebody has to approve first, if anything.
    question: Option<Box<ApprovalQuestion>>,
    /// How it is refused once that is approved, if it is hidden.
    approved: Option<Refusal>,
    /// How it is refused; `None` if it may go on.
    pub(crate) refusal: Option<Refusal>,
}

impl Draft {
    /// Whether it waits for an answer.
    pub(crate) fn is_request(&self) -> bool {
        self.facts.kind == MessageKind::Request
    }

    /// What it uses up, if it may go on.
    pub(crate) fn spending(&self) -> &[Spending] {
        match self.refusal {
            None => &self.spending,
            Some(_) => &[],
        }
    }

    /// It is refused after all, because it cannot be charged.
    pub(crate) fn refuse(&mut self, shortage: &Shortage) {
        let id = self.facts.id.to_string();
        let (verdict, rule, refusal) = match shortage {
            Shortage::Exceeded { quota, retry_after } => {
                let name = self.facts.name.as_deref().unwrap_or_default();
                let used = self.thing.map(|thing| (thing, name));
                let refusal = words::limited(used, quota, *retry_after, id);
                let rule = Cow::Owned(quota.place().to_owned());
                (Verdict::Limited, rule, refusal)
            }
            Shortage::Full => {
                let refusal = words::uncounted(words::LIMITS_FULL, id);
                (Verdict::Unavailable, words::LIMITS_FULL.into(), refusal)
            }
            Shortage::Failed => (Verdict::Unavailable, words::STORE.into(), Refusal::Failed),
            Shortage::Store => {
                let refusal = words::uncounted(words::STORE, id);
                (Verdict::Unavailable, words::STORE.into(), refusal)
            }
        };
        self.facts.verdict = verdict;
        self.facts.rule = rule;
        self.refusal = Some(refusal);
    }

    /// What somebody has to approve first, if anything.
    pub(crate) fn question(&self) -> Option<&ApprovalQuestion> {
        match self.refusal {
            None => self.question.as_deref(),
            Some(_) => None,
        }
    }

    /// Whether it was approved. The approval, if it may go on by that.
    pub(crate) fn settle(&mut self, approved: Result<Approved, Unapproved>) -> Option<Approved> {
        match (approved, &self.approved) {
            (Ok(_), Some(refusal)) => self.refusal = Some(refusal.clone()),
            (Ok(approved), None) => return Some(approved),
            (Err(why), _) => self.refuse_unapproved(&why),
        }
        None
    }

    /// It is refused after all, because nobody has approved it.
    pub(crate) fn refuse_unapproved(&mut self, why: &Unapproved) {
        let id = self.facts.id.to_string();
        let used = self.thing.zip(self.facts.name.as_deref());
        let rule = self
            .question
            .as_ref()
            .map_or("", |question| question.rule());
        let (verdict, refusal) = match (why, used) {
            (Unapproved::Full, _) => (
                Verdict::Unavailable,
                words::uncounted(words::APPROVALS_FULL, id),
            ),
            (Unapproved::Failed, _) => (Verdict::Unavailable, Refusal::Failed),
            (Unapproved::Store, _) | (_, None) => (Verdict::Unavailable, words::unasked(id)),
            (Unapproved::Denied(_), Some(used)) => {
                (Verdict::Denied, words::not_approved(used, rule, why, id))
            }
            (Unapproved::Pending(_) | Unapproved::Gone, Some(used)) => {
                (Verdict::Waiting, words::not_approved(used, rule, why, id))
            }
        };
        match why {
            Unapproved::Full => self.facts.rule = words::APPROVALS_FULL.into(),
            Unapproved::Failed | Unapproved::Store => self.facts.rule = words::STORE.into(),
            _ => {}
        }
        // What is hidden is recorded as that, whatever is said of it.
        if self.approved.is_none() {
            self.facts.verdict = verdict;
        }
        self.refusal = Some(refusal);
    }

    /// It is refused if it has to be approved, because it does not come by itself.
    pub(crate) fn refuse_to_wait(&mut self) {
        let used = self.thing.zip(self.facts.name.as_deref());
        if let (Some(_), Some(used)) = (self.question(), used) {
            let id = self.facts.id.to_string();
            let rule = self
                .question
                .as_ref()
                .map_or("", |question| question.rule());
            self.refusal = Some(words::waits_alone(used, rule, id));
            self.facts.verdict = Verdict::Denied;
        }
    }

    /// Whether this is one of the quotas that it uses up.
    pub(crate) fn uses_up(&self, quota: &Quota) -> bool {
        let mut spending = self.spending().iter();
        spending.any(|spending| spending.quota.id() == quota.id())
    }

    /// It is refused after all, like a message that no policy refuses.
    pub(crate) fn refuse_for(&mut self, refusal: Refusal) {
        let Judgement {
            verdict,
            rule,
            runs,
            refusal,
            ..
        } = refusal.into();
        self.facts.verdict = verdict;
        self.facts.rule = rule;
        self.runs = runs;
        self.refusal = refusal;
    }

    /// What is only tried would refuse it because of this quota.
    pub(crate) fn note_over(&mut self, quota: &Quota) {
        self.facts.shadow.get_or_insert_with(|| Shadow {
            verdict: Verdict::Limited,
            rule: quota.place().to_owned(),
        });
    }
}

impl Engine {
    /// What is to be recorded of a message.
    pub(crate) fn draft(
        &self,
        arrival: Arrival,
        seen: Seen<'_, '_>,
        judgement: Judgement,
        judge: Option<&Judge>,
    ) -> Draft {
        let keys = seen
            .call
            .and_then(|call| call.params.as_ref())
            .map(|params| argument_keys(params.argument_keys()));
        let question = judgement
            .demand
            .as_ref()
            .and_then(|demand| self.question(demand, &seen, judge?));
        let (verdict, refusal) = match &question {
            Some(_) if judgement.approved.is_some() => (judgement.verdict, None),
            Some(_) => (Verdict::Allowed, None),
            None => (judgement.verdict, judgement.refusal),
        };
        let facts = Facts {
            time: judge.map_or_else(SystemTime::now, |judge| judge.now().system),
            id: arrival.decision,
            caller: seen.caller.map(|caller| shown(caller.id())),
            session: seen.session.map(session_digest),
            server: self.server.clone(),
            era: match seen.era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            },
            kind: seen.kind,
            method: seen.call.map(|call| shown(&call.method)),
            name: judgement.name,
            inner: judgement.inner,
            more_names: judgement.more_names,
            argument_keys: keys.unwrap_or_default(),
            policy: judge.and_then(Judge::policy).cloned(),
            verdict,
            rule: judgement.rule,
            conditions: judgement.conditions,
            shadow: judgement.shadow,
        };
        let mut spending = judgement.spending;
        if seen.begins_session() {
            spending.push(self.limits.of_session_begun());
        }
        Draft {
            facts,
            since: arrival.since,
            runs: judgement.runs,
            thing: judgement.thing,
            spending,
            question,
            approved: judgement.approved,
            refusal,
        }
    }

    /// What is to be asked of whoever approves; `None` if nobody can be asked.
    fn question(
        &self,
        demand: &Demand,
        seen: &Seen<'_, '_>,
        judge: &Judge,
    ) -> Option<Box<ApprovalQuestion>> {
        let call = seen.call?;
        let params = call.params.as_ref();
        let is_nobodys =
            demand.approver == Approver::Caller && *judge.caller() == Caller::anonymous();
        if is_nobodys || !self.approvals.can_be_given() {
            return None;
        }
        let named = |param| match params?.named(param)? {
            Name::Text(name) => Some(name),
            Name::Unreadable => None,
        };
        let call = approval::Call {
            server: &self.server.clone().unwrap_or_default(),
            caller: &judge.caller().shared_id(),
            method: &call.method,
            name: named(match &*call.method {
                "resources/read" => Param::Uri,
                _ => Param::Name,
            })?,
            params: params.map(|params| params.raw),
            arguments: params.and_then(|params| params.span(Param::Arguments)),
        };
        let question = ApprovalQuestion::new(demand, call, judge.now());
        let question = question.ok().filter(ApprovalQuestion::shows_all);
        question.map(Box::new)
    }

    /// Asks for the approval of a message that has to be approved.
    pub(crate) fn approve(
        &self,
        question: &ApprovalQuestion,
        patience: Option<Patience>,
    ) -> Approving {
        self.approvals.ask(question, patience)
    }

    /// Uses up an approval.
    pub(crate) fn use_up(&self, judge: &Judge, approved: Approved) -> Using {
        approved.use_up(judge.now())
    }

    /// Records what was decided. The outcome is still to be recorded.
    pub(crate) fn decided(&self, draft: Draft) -> (OpenDecision, Receipt) {
        let record = DecisionRecord::new(draft.facts);
        self.trail.decided(record, draft.since)
    }

    /// Charges a caller for messages that may go on.
    pub(crate) fn charge<'d>(
        &self,
        judge: &Judge,
        arrival: Arrival,
        drafts: impl Iterator<Item = &'d Draft>,
    ) -> Charging {
        let spending: SmallVec<[Spending; 2]> = drafts.flat_map(Draft::spending).cloned().collect();
        self.limits
            .charge(arrival.decision, &self.payer(judge), &spending, judge.now())
    }

    /// Whether a message that has to be approved could be charged now: nobody is
    /// bothered with one that could not.
    pub(crate) fn could_charge(&self, judge: &Judge, arrival: Arrival, draft: &Draft) -> Charging {
        let spending = draft.spending();
        self.limits
            .ask(arrival.decision, &self.payer(judge), spending, judge.now())
    }

    fn payer(&self, judge: &Judge) -> Payer {
        Payer {
            server: self.server.clone().unwrap_or_default(),
            caller: judge.caller().clone(),
            session: judge.session().cloned(),
        }
    }
}
