use std::borrow::Cow;

use super::Sessions;
use super::words::{DEFAULT_DENY, NO_POLICY, refused, unknown, unknown_method, wrong_kind};
use crate::audit::{DecisionId, Verdict};
use crate::caller::Caller;
use crate::mcp::list::{List, Visibility};
use crate::mcp::message::{Call, Message};
use crate::mcp::method::{self, Kind, Subject};
use crate::mcp::params::{Name, Param, Reference, Subscriptions};
use crate::mcp::reply::{Refusal, Thing};
use crate::mcp::version::Era;
use crate::policy::{Action, Decision, DefaultAction, Outcome, Policy};

/// The rule by which what the protocol itself decides is decided.
const PROTOCOL: &str = "(protocol)";
/// The rule that refuses sessions and tasks that are not the caller's.
const SESSION: &str = "(session)";
/// The rule that refuses what could not be decided.
const STORE: &str = "(store)";
/// The rule that refuses what is hidden. Only records say so.
const HIDDEN: &str = "(hidden)";

/// Judges one request and its answer, by one policy.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    /// `None` for a caller without a policy.
    policy: Option<Policy>,
    /// Whether another caller could get another verdict.
    per_caller: bool,
    caller: Caller,
    sessions: Sessions,
}

/// What is to become of a message, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) rule: Cow<'static, str>,
    /// What the message names.
    pub(crate) name: Option<String>,
    /// Whether something runs by it.
    pub(crate) runs: bool,
    /// How it is refused; `None` if it may go on.
    pub(crate) refusal: Option<Refusal>,
}

impl Judgement {
    /// For what always passes: nothing runs by it.
    pub(crate) const PASSES: Self = Self {
        verdict: Verdict::Allowed,
        rule: Cow::Borrowed(PROTOCOL),
        name: None,
        runs: false,
        refusal: None,
    };

    fn allowed(rule: &str, name: Option<&str>) -> Self {
        Self {
            verdict: Verdict::Allowed,
            rule: Cow::Owned(rule.to_owned()),
            name: name.map(str::to_owned),
            runs: true,
            refusal: None,
        }
    }

    fn denied(rule: &str, name: Option<&str>, refusal: Refusal) -> Self {
        Self {
            verdict: Verdict::Denied,
            refusal: Some(refusal),
            ..Self::allowed(rule, name)
        }
    }

    /// The same of a method that the version of the call does not have: if it is
    /// refused, then like one that nobody has.
    fn of_no_method(mut self, call: &Call<'_>) -> Self {
        if self.refusal.is_some() && self.verdict != Verdict::Unavailable {
            self.refusal = Some(unknown_method(call));
        }
        self
    }

    /// The same of a task and a client that does not say that it can follow one:
    /// if it has no such task, then because it has none.
    fn of_no_follower(mut self) -> Self {
        if matches!(self.refusal, Some(Refusal::Unknown { .. })) {
            self.refusal = Some(Refusal::TasksUndeclared);
        }
        self
    }
}

impl From<Refusal> for Judgement {
    /// For what no policy refuses, but the protocol, or a fault of ours.
    fn from(refusal: Refusal) -> Self {
        let (verdict, rule) = match &refusal {
            Refusal::NoSession => (Verdict::Denied, SESSION),
            Refusal::Failed => (Verdict::Unavailable, STORE),
            Refusal::Busy => (Verdict::Unavailable, PROTOCOL),
            _ => (Verdict::Invalid, PROTOCOL),
        };
        Self {
            verdict,
            rule: Cow::Borrowed(rule),
            name: None,
            runs: false,
            refusal: Some(refusal),
        }
    }
}

impl Judge {
    pub(super) fn new(
        policy: Option<Policy>,
        per_caller: bool,
        caller: Caller,
        sessions: Sessions,
    ) -> Self {
        Self {
            policy,
            per_caller,
            caller,
            sessions,
        }
    }

    /// Who sent the request.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The policy that is asked, if the caller has one.
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// Whether a message may go on; if not, how it is refused.
    pub(crate) fn judge(&self, message: &Message<'_>, decision: DecisionId) -> Judgement {
        let (call, kind) = match message {
            Message::Request(_, call) => (call, Kind::Request),
            Message::Notification(call) => (call, Kind::Notification),
            // The answer to a request that the server made.
            Message::Response => return Judgement::PASSES,
        };
        match method::lookup(&call.method) {
            Some(known) if known.kind != kind => wrong_kind(known.kind).into(),
            Some(known) => {
                let judged = self.judge_known(known.subject, call, decision);
                let judged = judged.unwrap_or_else(Judgement::from);
                match known.last {
                    Era::Legacy if call.era() == Era::Modern => judged.of_no_method(call),
                    _ => judged,
                }
            }
            None => self.judge_unknown(call, kind),
        }
    }

    /// What the policy says; `None` without one.
    fn decide(&self, action: &Action<'_>) -> Option<Decision<'_>> {
        self.policy.as_ref().map(|policy| policy.decide(action))
    }

    /// The rule and reason with which something hidden is refused: those with
    /// which it would be if it were not in the document. `None` if it is
    /// answered as unknown.
    fn like_unnamed(&self, action: &Action<'_>) -> Option<(&str, Option<&str>)> {
        let policy = self.policy.as_ref()?;
        let decision = policy.decide_unnamed(action);
        match decision.outcome() {
            Outcome::Deny => Some((decision.rule(), decision.reason())),
            _ if policy.default_action() == DefaultAction::Deny => Some((DEFAULT_DENY, None)),
            _ => None,
        }
    }

    fn judge_known(
        &self,
        subject: Subject,
        call: &Call<'_>,
        decision: DecisionId,
    ) -> Result<Judgement, Refusal> {
        match subject {
            Subject::Nothing | Subject::AllTasks => Ok(Judgement::PASSES),
            Subject::Tool => {
                let name = name_in(call, Param::Name, "a tool name")?;
                check_arguments(call)?;
                Ok(self.use_thing(Thing::Tool, name, decision))
            }
            Subject::Prompt => {
                let name = name_in(call, Param::Name, "a prompt name")?;
                check_arguments(call)?;
                Ok(self.use_thing(Thing::Prompt, name, decision))
            }
            Subject::Resource => {
                let uri = name_in(call, Param::Uri, "a URI")?;
                Ok(self.use_thing(Thing::Resource, uri, decision))
            }
            Subject::Reference => self.complete(call, decision),
            Subject::Subscriptions => self.listen(call, decision),
            Subject::Task => {
                let task = name_in(call, Param::TaskId, "a task id")?;
                let judged = self.use_task(task, decision)?;
                Ok(match call.era() {
                    Era::Modern if !call.declares_tasks() => judged.of_no_follower(),
                    _ => judged,
                })
            }
        }
    }

    /// A method that only `methods` can allow.
    fn judge_unknown(&self, call: &Call<'_>, kind: Kind) -> Judgement {
        if call.method.starts_with("notifications/") && kind == Kind::Request {
            return wrong_kind(Kind::Notification).into();
        }
        let decision = self.decide(&Action::other_method(&call.method));
        let rule = decision.as_ref().map_or(NO_POLICY, Decision::rule);
        if decision.as_ref().is_some_and(Decision::is_allowed) {
            return Judgement::allowed(rule, None);
        }
        Judgement::denied(rule, None, unknown_method(call))
    }

    /// A use of something that the policy names.
    fn use_thing(&self, what: Thing, name: &str, decision_id: DecisionId) -> Judgement {
        let action = match what {
            Thing::Tool => Action::call_tool(name),
            Thing::Prompt => Action::get_prompt(name),
            Thing::Resource | Thing::Task => Action::read_resource(name),
        };
        let refused = |rule: &str, reason: Option<&str>| {
            refused(what, name, rule, reason, decision_id.to_string())
        };
        let Some(decision) = self.decide(&action) else {
            return Judgement::denied(NO_POLICY, Some(name), refused(NO_POLICY, None));
        };
        let (rule, reason) = (decision.rule(), decision.reason());
        match decision.outcome() {
            Outcome::Allow => Judgement::allowed(rule, Some(name)),
            Outcome::Hide => {
                let refusal = match self.like_unnamed(&action) {
                    Some((rule, reason)) => refused(rule, reason),
                    None => unknown(what, name),
                };
                Judgement {
                    verdict: Verdict::Hidden,
                    ..Judgement::denied(HIDDEN, Some(name), refusal)
                }
            }
            _ => Judgement::denied(rule, Some(name), refused(rule, reason)),
        }
    }

    /// A use of a task: it has to be the caller's, and the tool that it was made
    /// with has to be one that the caller may call now.
    fn use_task(&self, task: &str, decision_id: DecisionId) -> Result<Judgement, Refusal> {
        let Some(tool) = self.sessions.tool_of(task, &self.caller)? else {
            let refusal = unknown(Thing::Task, task);
            return Ok(Judgement::denied(SESSION, None, refusal));
        };
        let mut judgement = self.use_thing(Thing::Tool, &tool, decision_id);
        judgement.refusal = judgement.refusal.map(|refusal| match refusal {
            // What is asked for is no result of a tool.
            Refusal::Tool { text, place } => Refusal::Denied { text, place },
            _ => unknown(Thing::Task, task),
        });
        Ok(judgement)
    }

    /// `completion/complete` tells of what it refers to, so it is judged as a
    /// use of that.
    fn complete(&self, call: &Call<'_>, decision: DecisionId) -> Result<Judgement, Refusal> {
        match call
            .params
            .as_ref()
            .and_then(|params| params.reference.as_ref())
        {
            Some(Reference::Prompt(name)) => Ok(self.use_thing(Thing::Prompt, name, decision)),
            Some(Reference::Resource(uri)) => Ok(self.use_thing(Thing::Resource, uri, decision)),
            Some(Reference::Unreadable) | None => Err(Refusal::Params {
                text: "params.ref must be an object with the type ref/prompt and a name, \
                       or the type ref/resource and a uri."
                    .to_owned(),
            }),
        }
    }

    /// One refused URI or task refuses the whole subscription.
    fn listen(&self, call: &Call<'_>, decision: DecisionId) -> Result<Judgement, Refusal> {
        let subscriptions = call
            .params
            .as_ref()
            .and_then(|params| params.subscriptions.as_ref());
        let (resources, tasks) = match subscriptions {
            None => return Ok(Judgement::PASSES),
            Some(Subscriptions::To { resources, tasks }) => (resources, tasks),
            Some(Subscriptions::Unreadable) => {
                return Err(Refusal::Params {
                    text: "params.notifications must be an object in which \
                           resourceSubscriptions and taskIds are lists of strings."
                        .to_owned(),
                });
            }
        };
        let mut last = Judgement::PASSES;
        for uri in resources {
            last = self.use_thing(Thing::Resource, uri, decision);
            if last.refusal.is_some() {
                return Ok(last);
            }
        }
        for task in tasks {
            last = self.use_task(task, decision)?;
            if last.refusal.is_some() {
                return Ok(last);
            }
        }
        Ok(last)
    }
}

impl Visibility for Judge {
    fn may_hide(&self, list: List) -> bool {
        let Some(policy) = self.policy.as_ref().filter(|_| !self.per_caller) else {
            return true;
        };
        match list {
            List::Tools => policy.can_hide_tools(),
            List::Prompts => policy.can_hide_prompts(),
            List::Resources | List::ResourceTemplates => policy.can_hide_resources(),
            // Whose a task is does not depend on the policy.
            List::Tasks => true,
        }
    }

    fn shows(&self, list: List, name: &str) -> bool {
        let shows = |action: &Action<'_>| {
            self.decide(action)
                .is_some_and(|decision| decision.outcome() != Outcome::Hide)
        };
        match list {
            List::Tools => shows(&Action::call_tool(name)),
            List::Prompts => shows(&Action::get_prompt(name)),
            List::Resources => shows(&Action::read_resource(name)),
            List::ResourceTemplates => {
                let policy = self.policy.as_ref();
                policy.is_some_and(|policy| policy.shows_template(name))
            }
            List::Tasks => {
                let tool = self.sessions.tool_of(name, &self.caller);
                matches!(tool, Ok(Some(tool)) if shows(&Action::call_tool(&tool)))
            }
        }
    }
}

/// The member that names what the call acts on.
fn name_in<'c>(call: &'c Call<'_>, param: Param, what: &str) -> Result<&'c str, Refusal> {
    match call.params.as_ref().and_then(|params| params.named(param)) {
        Some(Name::Text(name)) => Ok(name),
        Some(Name::Unreadable) | None => Err(Refusal::Params {
            text: format!("The parameters of {} must hold {what}.", call.method),
        }),
    }
}

fn check_arguments(call: &Call<'_>) -> Result<(), Refusal> {
    match &call.params {
        Some(params) if !params.has_readable_arguments() => Err(Refusal::Params {
            text: "params.arguments must be an object.".to_owned(),
        }),
        _ => Ok(()),
    }
}
