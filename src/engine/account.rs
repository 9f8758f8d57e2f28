//! What is recorded of a message.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use smallvec::SmallVec;

use super::approve::{Approved, Approving, Patience, Unapproved, Using, Wait};
use super::charge::{Charged, Charging, Payer, Resuming, Shortage};
use super::holds::HeldCall;
use super::judge::{Judge, Judgement};
use super::nested::{ClientStream, Nested};
use super::rounds::{Abilities, AtOnce, Brought, Came, Course, Following, Taken};
use super::{Engine, words};
use crate::approval::{self, ApprovalQuestion, ApprovalRequest, CallDigest, Decider, Demand};
use crate::audit::{
    DecisionId, DecisionRecord, Facts, MessageKind, Names, OpenDecision, Receipt, Shadow, Verdict,
    session_digest,
};
use crate::caller::Caller;
use crate::limit::StateId;
use crate::mcp::message::{Call, Message};
use crate::mcp::reply::{Refusal, Thing};
use crate::mcp::version::Era;
use crate::mcp::{method, rounds, shown, shown_shared};
use crate::policy::{Approver, Period, Quota, Spending};
use crate::rounds::Round;
use crate::store::StoreError;

/// How records call the eras.
const LEGACY: &str = "legacy";
const MODERN: &str = "modern";

/// Those that are known need no copy.
fn shown_method(name: &str) -> Cow<'static, str> {
    match method::lookup(name) {
        Some(known) => known.name.into(),
        None => shown(name).into(),
    }
}

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
    /// How its client can be told that it waits; `None` if only in words.
    pub(crate) abilities: Option<Abilities>,
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
    /// Nobody else has them before they are recorded, and nothing changes them after that.
    facts: Arc<Facts>,
    since: Instant,
    /// Whether something runs by it.
    pub(crate) runs: bool,
    thing: Option<Thing>,
    spending: SmallVec<[Spending; 4]>,
    /// What somebody has to approve first, if anything.
    question: Option<Box<ApprovalQuestion>>,
    /// What it brings back of earlier rounds, and what comes of that.
    course: Option<Box<Course>>,
    /// Of exactly this call, if it can take more than one round and is to be approved or
    /// charged.
    digest: Option<CallDigest>,
    /// How it is refused once that is approved, if it is hidden.
    approved: Option<Refusal>,
    /// How it is refused; `None` if it may go on.
    pub(crate) refusal: Option<Refusal>,
}

impl Draft {
    fn facts_mut(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.facts)
    }

    /// Whether it waits for an answer.
    pub(crate) fn is_request(&self) -> bool {
        self.facts.kind == MessageKind::Request
    }

    /// What it uses up, if it may go on, and was not charged with an earlier round.
    pub(crate) fn spending(&self) -> impl Iterator<Item = &Spending> + Clone {
        let is_charged = self
            .course
            .as_ref()
            .is_some_and(|course| course.is_charged());
        // What is under way is under way again.
        let spending = self
            .spending
            .iter()
            .filter(move |spending| !is_charged || spending.quota.period() == Period::Concurrent);
        spending.filter(|_| self.refusal.is_none())
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
        self.facts_mut().verdict = verdict;
        self.facts_mut().rule = rule;
        self.refusal = Some(refusal);
    }

    /// What somebody has to approve first, if anything, and has not with an earlier round.
    pub(crate) fn question(&self) -> Option<&ApprovalQuestion> {
        let is_approved = self
            .course
            .as_ref()
            .is_some_and(|course| course.is_approved());
        match self.refusal {
            None if !is_approved => self.question.as_deref(),
            _ => None,
        }
    }

    /// Whether its client wants to do without it.
    pub(crate) fn is_taken_back(&self) -> bool {
        let course = self.course.as_ref();
        course.is_some_and(|course| course.is_taken_back())
    }

    /// Whether it was approved. The approval, if it may go on by that.
    pub(crate) fn settle(&mut self, approved: Result<Approved, Unapproved>) -> Option<Approved> {
        match &approved {
            Ok(approved) => self.note_approval(&approved.request),
            Err(Unapproved::Pending(request) | Unapproved::Denied(request)) => {
                self.note_approval(request);
            }
            Err(_) => {}
        }
        match approved {
            Ok(approved) => Some(approved),
            Err(why) => {
                self.refuse_unapproved(&why);
                None
            }
        }
    }

    /// It is refused after all, because it is hidden: like everything else it was approved
    /// and charged first, and what it was charged stays. Says whether it is so.
    pub(crate) fn refuse_hidden(&mut self, charged: &mut Option<Box<Charged>>) -> bool {
        let is_hidden = self.refusal.is_none() && self.approved.is_some();
        if is_hidden {
            self.refusal = self.approved.take();
            if let Some(mut charged) = charged.take() {
                charged.sent();
                charged.ended();
            }
        }
        is_hidden
    }

    fn note_approval(&mut self, request: &ApprovalRequest) {
        self.facts_mut().approval = Some(request.id().to_string());
        self.facts_mut().decided_by = request.decided_by().map(|decider| match decider {
            Decider::Operator(name) => shown(name),
            Decider::Caller => "(caller)".to_owned(),
        });
    }

    /// The state by which it goes on without being approved or charged again, if it was
    /// not used before.
    pub(crate) fn continues(&self) -> Option<&StateId> {
        match self.refusal {
            None => self.course.as_ref()?.continues(),
            Some(_) => None,
        }
    }

    /// Whether it goes on, or is another call because its state was used before.
    pub(crate) fn resume(&mut self, goes_on: Result<bool, StoreError>) {
        let Some(course) = &mut self.course else {
            return;
        };
        match goes_on {
            Ok(goes_on) => course.resume(goes_on),
            Err(error) => {
                tracing::error!(target: "mcp_policy", %error, "the limit store did not answer");
                self.refuse(&match error == StoreError::PANICKED {
                    true => Shortage::Failed,
                    false => Shortage::Store,
                });
            }
        }
    }

    /// What has to be remembered of it until the server has answered, if that may ask
    /// for another round.
    pub(crate) fn following(&self, judge: &Judge, is_charged: bool) -> Option<Following> {
        let method = self.facts.method.as_deref()?;
        let is_modern = self.facts.era == MODERN && self.is_request();
        if !is_modern || !rounds::takes_rounds(method) {
            return None;
        }
        let course = self.course.as_deref();
        let was = |is: fn(&Course) -> bool| course.is_some_and(is);
        Some(Following {
            round: course.map_or_else(|| Round::first(judge.now()), Course::round),
            digest: self.digest,
            is_approved: was(Course::is_approved) || self.question.is_some(),
            is_charged: was(Course::is_charged) || is_charged,
        })
    }

    /// What it brings back with it.
    pub(crate) fn brought(&self) -> Option<&Brought> {
        self.course.as_ref()?.brought()
    }

    /// How long it is waited for its approval, and what is known of that.
    pub(crate) fn wait(
        &self,
        judge: &Judge,
        patience: Option<Patience>,
        call: Option<HeldCall>,
        stream: Option<(&ClientStream, &Arc<[u8]>)>,
    ) -> Wait {
        let course = self.course.as_deref();
        Wait {
            patience,
            came: course.map_or(Came::Afresh, Course::came),
            at_once: course.map_or(AtOnce::Never, Course::at_once),
            call,
            nested: stream.and_then(|(stream, id)| self.nested(judge, stream, id)),
        }
    }

    /// Whether its client is asked on this stream while it waits.
    pub(crate) fn asks_while_it_waits(&self) -> bool {
        let course = self.course.as_deref();
        course.is_some_and(|course| course.asks_while_it_waits().is_some())
    }

    fn nested(&self, judge: &Judge, stream: &ClientStream, id: &Arc<[u8]>) -> Option<Nested> {
        let question = self.question()?;
        Some(Nested {
            stream: stream.clone(),
            call: Arc::clone(id),
            keys: Arc::clone(self.course.as_ref()?.asks_while_it_waits()?),
            server: question.shared_server(),
            caller: Arc::clone(question.caller()),
            session: Arc::clone(judge.session()?),
            now: judge.now(),
            used: (self.thing?, Arc::clone(self.facts.name.as_ref()?)),
            argument_keys: self.facts.argument_keys.clone(),
        })
    }

    /// The first rule that asks for its approval; empty if none does.
    fn asking_rule(&self) -> &str {
        let question = self.question.as_ref();
        question.map_or("", |question| question.rule())
    }

    /// It is refused after all, because nobody has approved it.
    pub(crate) fn refuse_unapproved(&mut self, why: &Unapproved) {
        let id = self.facts.id.to_string();
        let used = self.thing.zip(self.facts.name.as_deref());
        let rule = self.asking_rule();
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
            (Unapproved::Pending(request), Some(used)) => (
                Verdict::Waiting,
                self.told_to_wait(used, rule, why, request, id),
            ),
            (Unapproved::Gone | Unapproved::TakenBack, Some(used)) => {
                (Verdict::Waiting, words::not_approved(used, rule, why, id))
            }
        };
        match why {
            Unapproved::Full => self.facts_mut().rule = words::APPROVALS_FULL.into(),
            Unapproved::Failed | Unapproved::Store => self.facts_mut().rule = words::STORE.into(),
            _ => {}
        }
        // What is hidden is recorded as that, whatever is said of it.
        if self.approved.is_none() {
            self.facts_mut().verdict = verdict;
        }
        self.refusal = Some(refusal);
    }

    /// How it is told that it waits for this request.
    fn told_to_wait(
        &self,
        used: (Thing, &str),
        rule: &str,
        why: &Unapproved,
        request: &ApprovalRequest,
        id: String,
    ) -> Refusal {
        let refusal = words::not_approved(used, rule, why, id);
        let (Refusal::Tool { place, .. } | Refusal::Waits { place, .. }) = &refusal else {
            return refusal;
        };
        let told = self.course.as_ref().zip(self.question.as_ref());
        let told = told.and_then(|(course, question)| {
            course.told(question, request, place, (used, &self.facts.argument_keys))
        });
        told.unwrap_or(refusal)
    }

    /// It is refused if it has to be approved, because it does not come by itself.
    pub(crate) fn refuse_to_wait(&mut self) {
        let used = self.thing.zip(self.facts.name.as_deref());
        if let (Some(_), Some(used)) = (self.question(), used) {
            let id = self.facts.id.to_string();
            self.refusal = Some(words::waits_alone(used, self.asking_rule(), id));
            self.facts_mut().verdict = Verdict::Denied;
        }
    }

    /// Whether this is one of the quotas that it uses up.
    pub(crate) fn uses_up(&self, quota: &Quota) -> bool {
        let mut spending = self.spending();
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
        self.facts_mut().verdict = verdict;
        self.facts_mut().rule = rule;
        self.runs = runs;
        self.refusal = refusal;
    }

    /// It is refused, because what it answers could not be told to whoever keeps the
    /// approvals.
    pub(crate) fn refuse_untold(&mut self, error: &StoreError) {
        let refusal = match Unapproved::from(error) {
            Unapproved::Failed => Refusal::Failed,
            _ => words::untold(self.facts.id.to_string()),
        };
        self.refuse_for(refusal);
    }

    /// What is only tried would refuse it because of this quota.
    pub(crate) fn note_over(&mut self, quota: &Quota) {
        self.facts_mut().shadow.get_or_insert_with(|| Shadow {
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
        brought: Option<Box<Brought>>,
    ) -> Draft {
        let keys = seen
            .call
            .and_then(|call| call.params.as_ref())
            .map(|params| Names::new(params.argument_keys()));
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
                &judgement,
                (question, digest.as_ref()),
                brought,
            )
        });
        let (verdict, refusal) = match &question {
            Some(_) if judgement.approved.is_some() => (judgement.verdict, None),
            Some(_) => (Verdict::Allowed, None),
            None => (judgement.verdict, judgement.refusal),
        };
        let facts = Facts {
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
            method: seen.call.map(|call| shown_method(&call.method)),
            name: judgement.name,
            inner: judgement.inner,
            more_names: judgement.more_names,
            argument_keys: keys.unwrap_or_default(),
            trace_parent: seen.call.and_then(Call::trace_parent).map(str::to_owned),
            policy: judge.and_then(Judge::policy).cloned(),
            verdict,
            rule: judgement.rule,
            conditions: judgement.conditions,
            shadow: judgement.shadow,
            approval: None,
            decided_by: None,
        };
        let mut spending = judgement.spending;
        if seen.begins_session() {
            spending.push(self.limits.of_session_begun());
        }
        Draft {
            facts: Arc::new(facts),
            since: arrival.since,
            runs: judgement.runs,
            thing: judgement.thing,
            spending,
            question,
            course,
            digest,
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

    /// Whether a call of this caller's is held that its client does not wait for any
    /// more.
    pub(crate) fn end_hold(&self, judge: &Judge, call: &HeldCall) -> bool {
        self.approvals.end_hold(judge.caller().id(), call)
    }

    /// Uses up an approval.
    pub(crate) fn use_up(&self, judge: &Judge, approved: Approved) -> Using {
        approved.use_up(judge.now())
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
