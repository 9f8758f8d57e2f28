//! Makes drafts, and has done what they need.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Arrival, Draft, LEGACY, MODERN, Seen};
use crate::approval::{self, ApprovalQuestion, ApprovalUsed, CallDigest, Demand};
use crate::audit::{DecisionRecord, Facts, Names, OpenDecision, Receipt, Verdict, session_digest};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::engine::approve::{Approved, Approving, Unapproved, Using, Wait};
use crate::engine::charge::{Charging, Payer, Resuming};
use crate::engine::holds::HeldCall;
use crate::engine::judge::{Judge, Judgement};
use crate::engine::rounds::{Brought, Course, Taken};
use crate::limit::StateId;
use crate::mcp::message::Call;
use crate::mcp::version::Era;
use crate::mcp::{rounds, shown, shown_shared};
use crate::policy::Approver;
use crate::store::StoreError;

/// Those that are known need no copy.
fn shown_method(call: &Call<'_>) -> Cow<'static, str> {
    match call.known {
        Some(known) => known.name.into(),
        None => shown(&call.method).into(),
    }
}

impl Engine {
    /// A message that was judged so; takes what is known of it out of that.
    pub(crate) fn draft(
        &self,
        arrival: Arrival,
        seen: Seen<'_, '_>,
        judgement: &mut Judgement,
        judge: Option<&Judge>,
        brought: Option<Box<Brought>>,
    ) -> Draft {
        let question = judgement
            .demand
            .as_ref()
            .and_then(|demand| self.question(demand, &seen, judge?));
        let digest = judge.and_then(|judge| {
            let is_paid = brought.is_some() || !judgement.spending.is_empty();
            self.digest(&seen, judge, question.as_deref(), is_paid)
        });
        let course = judge.and_then(|judge| {
            let question = question.as_deref();
            self.course(
                &seen,
                judge,
                judgement,
                (question, digest.as_ref()),
                brought,
            )
        });
        let approved = judgement.approved.take();
        let mut refusal = judgement.refusal.take();
        if question.is_some() {
            refusal = None;
            // What is hidden is recorded as that, whatever it waits for.
            if approved.is_none() {
                judgement.verdict = Verdict::Allowed;
            }
        }
        let mut spending = std::mem::take(&mut judgement.spending);
        if seen.begins_session() {
            spending.push(self.limits.of_session_begun());
        }
        Draft {
            since: arrival.since,
            runs: judgement.runs,
            thing: judgement.thing,
            facts: self.facts(arrival, &seen, judgement, judge),
            spending,
            question,
            course,
            digest,
            approved,
            refusal,
        }
    }

    /// What is to be recorded of a message that was judged so.
    fn facts(
        &self,
        arrival: Arrival,
        seen: &Seen<'_, '_>,
        judgement: &mut Judgement,
        judge: Option<&Judge>,
    ) -> Arc<Facts> {
        let params = seen.call.and_then(|call| call.params.as_ref());
        let keys = params.map(|params| Names::new(params.argument_keys()));
        Arc::new(Facts {
            time: judge.map_or_else(SystemTime::now, |judge| judge.now().system),
            id: arrival.decision,
            caller: seen.caller.map(|caller| shown_shared(&caller.shared_id())),
            session: seen.session.map(session_digest),
            server: self.server.clone(),
            era: match seen.era {
                Era::Legacy => LEGACY,
                Era::Modern => MODERN,
            },
            kind: seen.kind,
            method: seen.call.map(shown_method),
            name: judgement.name.take(),
            inner: judgement.inner.take(),
            more_names: std::mem::take(&mut judgement.more_names),
            argument_keys: keys.unwrap_or_default(),
            trace_parent: seen.call.and_then(Call::trace_parent).map(str::to_owned),
            policy: judge.and_then(Judge::policy).cloned(),
            verdict: judgement.verdict,
            rule: std::mem::take(&mut judgement.rule),
            conditions: std::mem::take(&mut judgement.conditions),
            shadow: judgement.shadow.take(),
            approval: None,
            decided_by: None,
        })
    }

    /// What is to be asked of whoever approves; `None` if nobody can be asked.
    fn question(
        &self,
        demand: &Demand,
        seen: &Seen<'_, '_>,
        judge: &Judge,
    ) -> Option<Box<ApprovalQuestion>> {
        let call = seen.call?;
        let is_nobodys =
            demand.approver == Approver::Caller && *judge.caller() == Caller::anonymous();
        if is_nobodys || !self.approvals.can_be_given() {
            return None;
        }
        let (server, caller) = (self.server_key(), judge.caller().shared_id());
        let call = approval::Call::of(call, &server, &caller)?;
        let question = ApprovalQuestion::new(demand, call, judge.now());
        let question = question.ok().filter(ApprovalQuestion::shows_all);
        question.map(Box::new)
    }

    /// The digest of a call that can take more than one round, if that is needed.
    fn digest(
        &self,
        seen: &Seen<'_, '_>,
        judge: &Judge,
        question: Option<&ApprovalQuestion>,
        is_paid: bool,
    ) -> Option<CallDigest> {
        let call = seen.call?;
        let takes_rounds = seen.era == Era::Modern && rounds::takes_rounds(&call.method);
        match question {
            Some(question) => Some(*question.digest()),
            None if takes_rounds && is_paid => {
                let server = self.server_key();
                let caller = judge.caller().shared_id();
                let call = approval::Call::of(call, &server, &caller)?;
                call.digest(b"").ok()
            }
            None => None,
        }
    }

    /// What comes of a call that brings something back, or has to be approved.
    fn course(
        &self,
        seen: &Seen<'_, '_>,
        judge: &Judge,
        judgement: &Judgement,
        (question, digest): (Option<&ApprovalQuestion>, Option<&CallDigest>),
        brought: Option<Box<Brought>>,
    ) -> Option<Box<Course>> {
        if question.is_none() && brought.is_none() {
            return None;
        }
        let taken = Taken {
            era: seen.era,
            method: &seen.call?.method,
            digest,
            rule: &judgement.rule,
            approver: question.map(ApprovalQuestion::approver),
            abilities: seen.abilities,
            now: judge.now(),
        };
        Some(Box::new(Course::new(&self.rounds, &taken, brought)))
    }

    /// Asks for the approval of a message that has to be approved.
    pub(crate) fn approve(&self, question: &ApprovalQuestion, wait: Wait) -> Approving {
        self.approvals.ask(question, wait)
    }

    /// Uses up the state by which a call goes on.
    pub(crate) fn use_state(&self, state: &StateId) -> Resuming {
        self.limits.use_state(state)
    }

    /// What the store answered to that, if it did.
    pub(crate) fn note_state(&self, goes_on: &Result<bool, StoreError>) {
        self.limits.note_state(goes_on);
    }

    /// Whether a call of this caller's is held that its client does not wait for any
    /// more.
    pub(crate) fn end_hold(&self, judge: &Judge, call: &HeldCall) -> bool {
        self.approvals.end_hold(judge.caller().id(), call)
    }

    /// Uses up an approval.
    pub(crate) fn use_up(&self, judge: &Judge, approved: Approved) -> Using {
        approved.use_up(judge.now())
    }

    /// Why a call may not be made although its approval should have been used.
    pub(crate) fn unused(&self, used: &Result<ApprovalUsed, StoreError>) -> Option<Unapproved> {
        self.approvals.unused(used)
    }

    /// Records what was decided. The outcome is still to be recorded.
    pub(crate) fn decided(&self, draft: &Draft) -> (OpenDecision, Receipt) {
        let record = DecisionRecord::new(Arc::clone(&draft.facts));
        self.trail.decided(record, draft.since)
    }

    /// Charges a caller for messages that may go on.
    pub(crate) fn charge<'d>(
        &self,
        judge: &Judge,
        arrival: Arrival,
        drafts: impl Iterator<Item = &'d Draft>,
    ) -> Charging {
        let spending = drafts.flat_map(Draft::spending);
        self.limits
            .charge(arrival.decision, self.payer(judge), spending, judge.now())
    }

    /// Whether a message that has to be approved could be charged now: nobody is
    /// bothered with one that could not.
    pub(crate) fn could_charge(&self, judge: &Judge, arrival: Arrival, draft: &Draft) -> Charging {
        let spending = draft.spending();
        self.limits
            .ask(arrival.decision, self.payer(judge), spending, judge.now())
    }

    fn payer<'j>(&self, judge: &'j Judge) -> Payer<'j> {
        Payer {
            server: self.server_key(),
            caller: judge.caller(),
            session: judge.session(),
        }
    }
}
