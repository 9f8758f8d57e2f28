//! What is recorded of a message.

mod drafting;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::approve::{Approved, Patience, Unapproved, Wait};
use super::charge::{Charged, Shortage};
use super::holds::HeldCall;
use super::judge::{Judge, Judgement};
use super::nested::{ClientStream, Nested};
use super::rounds::{Abilities, AtOnce, Brought, Came, Course, Following};
use super::words;
use crate::approval::{ApprovalQuestion, ApprovalRequest, CallDigest, Decider};
use crate::audit::{DecisionId, Facts, MessageKind, Shadow, Verdict};
use crate::caller::Caller;
use crate::limit::StateId;
use crate::mcp::message::{Call, Message};
use crate::mcp::reply::{Refusal, Thing};
use crate::mcp::version::Era;
use crate::mcp::{rounds, shown};
use crate::policy::{Period, Quota, Spending};
use crate::rounds::Round;
use crate::store::StoreError;

/// How records call the eras.
const LEGACY: &str = "legacy";
const MODERN: &str = "modern";

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
    approved: Option<Box<Refusal>>,
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

    /// Whether somebody has to approve it, unless that was done with an earlier round.
    pub(crate) fn may_wait(&self) -> bool {
        self.question.is_some()
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
            self.refusal = self.approved.take().map(|refusal| *refusal);
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
        stream: Option<&(ClientStream, Arc<[u8]>)>,
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
