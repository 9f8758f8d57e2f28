mod judgement;
mod visibility;

use std::sync::Arc;

use smallvec::SmallVec;

pub(crate) use self::judgement::Judgement;
use super::definitions::SeenDefinitions;
use super::words::{
    Again, NO_POLICY, by_default, refused, unapproved, unknown, unknown_method, wrong_kind,
};
use super::{SESSION, Sessions};
use crate::audit::{DecisionId, Verdict};
use crate::caller::Caller;
use crate::clock::Moment;
use crate::mcp::message::{Call, Message};
use crate::mcp::method::{Kind, Subject};
use crate::mcp::params::{Elicitation, Name, Param, Params, Reference, Subscriptions};
use crate::mcp::reply::{Refusal, Thing};
use crate::mcp::version::Era;
use crate::mcp::{shown_text, shown_uri};
use crate::policy::{Action, Decision, DefaultAction, Outcome, Policy};

/// The rule by which what the protocol itself decides is decided.
const PROTOCOL: &str = "(protocol)";
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
    /// What the client said of itself when it began the session.
    client: Option<Arc<str>>,
    /// How it said then that it can ask its user.
    elicitation: Elicitation,
    /// The session that the request belongs to, if it is known to be the
    /// caller's.
    session: Option<Arc<str>>,
    sessions: Sessions,
    definitions: SeenDefinitions,
    /// Whether nothing unasked goes on to the client, whatever the policy was.
    only_answers: bool,
    now: Moment,
}

impl Judge {
    pub(super) fn new(
        policy: Option<Policy>,
        per_caller: bool,
        caller: Caller,
        (sessions, definitions): (Sessions, SeenDefinitions),
        now: Moment,
    ) -> Self {
        if let Some(policy) = &policy {
            definitions.want_for(policy);
        }
        Self {
            policy,
            per_caller,
            caller,
            client: None,
            elicitation: Elicitation::default(),
            session: None,
            sessions,
            definitions,
            only_answers: false,
            now,
        }
    }

    /// The same for a client that said this of itself when it began the session.
    pub(crate) fn of_client(mut self, client: Option<Arc<str>>) -> Self {
        self.client = client;
        self
    }

    /// The same for a client that said then that it can ask its user so.
    pub(crate) fn of_elicitation(mut self, elicitation: Elicitation) -> Self {
        self.elicitation = elicitation;
        self
    }

    /// How the client said that it can ask its user, when it began the session.
    pub(crate) fn elicitation(&self) -> Elicitation {
        self.elicitation
    }

    /// The same for a request of this session, which is known to be the caller's.
    pub(crate) fn in_session(mut self, session: Option<Arc<str>>) -> Self {
        self.session = session;
        self
    }

    /// The session by which the request is counted.
    pub(crate) fn session(&self) -> Option<&Arc<str>> {
        self.session.as_ref()
    }

    /// The same for another message, with what that one asks.
    pub(crate) fn asking(&self, sessions: &Sessions) -> Self {
        Self {
            sessions: sessions.clone(),
            ..self.clone()
        }
    }

    /// The same for what comes when nothing goes on any more: a request from before is
    /// answered, and that is all.
    pub(crate) fn with_only_answers(self) -> Self {
        Self {
            only_answers: true,
            ..self
        }
    }

    /// Which sessions and tasks belong to whom, as far as this request asked.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// When the request was judged.
    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// Who sent the request.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The policy that is asked, if the caller has one.
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// Whether nothing goes on between the caller and the server but what keeps a session.
    pub(crate) fn is_shut(&self) -> bool {
        self.policy.as_ref().is_none_or(Policy::is_shut)
    }

    /// The policy by which lists look as they do.
    pub(super) fn shown_policy(&self) -> Option<&Policy> {
        self.policy.as_ref().filter(|policy| !policy.is_shut())
    }

    /// Whether another caller could get another verdict.
    pub(crate) fn is_per_caller(&self) -> bool {
        self.per_caller
    }

    /// Whether a message may go on; if not, how it is refused.
    pub(crate) fn judge(&self, message: &Message<'_>, decision: DecisionId) -> Judgement {
        let (call, kind) = match message {
            Message::Request(_, call) => (call, Kind::Request),
            Message::Notification(call) => (call, Kind::Notification),
            // The answer to a request that the server made.
            Message::Response if self.is_shut() => {
                return Judgement::denied(NO_POLICY, None, Refusal::Unheard);
            }
            Message::Response => return Judgement::PASSES,
        };
        match call.known {
            Some(known) if known.kind != kind => wrong_kind(known.kind).into(),
            Some(known) if self.is_shut() && asks_of_server(known.subject) => {
                self.judge_unknown(call, kind)
            }
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

    fn denies_by_default(&self) -> bool {
        let policy = self.policy.as_ref();
        policy.is_some_and(|policy| policy.default_action() == DefaultAction::Deny)
    }

    fn judge_known(
        &self,
        subject: Subject,
        call: &Call<'_>,
        decision: DecisionId,
    ) -> Result<Judgement, Refusal> {
        match subject {
            Subject::Nothing | Subject::Setting | Subject::AllTasks => Ok(Judgement::PASSES),
            Subject::Tool => {
                let name = name_in(call, Param::Name, "a tool name")?;
                check_arguments(call)?;
                let action = self.as_made_by(Action::call_tool(name), call);
                Ok(self.use_thing(Thing::Tool, name, &action, decision))
            }
            Subject::Prompt => {
                let name = name_in(call, Param::Name, "a prompt name")?;
                check_arguments(call)?;
                let action = self.as_made_by(Action::get_prompt(name), call);
                Ok(self.use_thing(Thing::Prompt, name, &action, decision))
            }
            Subject::Resource => {
                let uri = name_in(call, Param::Uri, "a URI")?;
                let judgement = self.use_resource(uri, call, decision);
                Ok(match &*call.method {
                    "resources/read" => judgement,
                    _ => judgement.at_once(),
                })
            }
            Subject::Reference => self.complete(call, decision).map(Judgement::at_once),
            Subject::Subscriptions => self.listen(call, decision),
            Subject::Task => {
                let task = name_in(call, Param::TaskId, "a task id")?;
                self.use_task(task, unknown_task(call, task), decision)
            }
        }
    }

    /// A method that only `methods` can allow.
    fn judge_unknown(&self, call: &Call<'_>, kind: Kind) -> Judgement {
        if call.method.starts_with("notifications/") && kind == Kind::Request {
            return wrong_kind(Kind::Notification).into();
        }
        let Some(policy) = &self.policy else {
            return Judgement::denied(NO_POLICY, None, unknown_method(call));
        };
        let decision = policy.decide(&Action::other_method(&call.method));
        if policy.is_shut() && decision.is_allowed() {
            return Judgement::denied(NO_POLICY, None, unknown_method(call));
        }
        let rule = decision.rule();
        let mut judgement = if decision.is_allowed() {
            Judgement::allowed(rule, None)
        } else {
            Judgement::denied(rule, None, unknown_method(call))
        };
        judgement.note(&decision);
        judgement
    }

    /// The action with what the call says of its arguments and of the client.
    fn as_made_by<'a>(&'a self, action: Action<'a>, call: &'a Call<'_>) -> Action<'a> {
        let params = call.params.as_ref();
        let arguments = params.and_then(|params| params.span(Param::Arguments));
        let in_message = params.and_then(|params| params.meta.client_info);
        let in_session = self.client.as_deref().map(str::as_bytes);
        action
            .with_read_arguments(
                arguments.unwrap_or_default(),
                params.map(Params::long_arguments).unwrap_or_default(),
            )
            .by(&self.caller)
            .with_read_client(in_message.or(in_session))
            .with_definitions(&self.definitions)
    }

    /// A call of a tool of which only the name is known.
    fn call_of<'a>(&'a self, tool: &'a str) -> Action<'a> {
        Action::call_tool(tool).with_definitions(&self.definitions)
    }

    fn use_resource(&self, uri: &str, call: &Call<'_>, decision: DecisionId) -> Judgement {
        let action = self.as_made_by(Action::read_resource(uri), call);
        self.use_thing(Thing::Resource, uri, &action, decision)
    }

    /// A use of something that the policy names.
    fn use_thing(&self, what: Thing, name: &str, action: &Action<'_>, id: DecisionId) -> Judgement {
        match &self.policy {
            Some(policy) => self.as_decided(what, name, &policy.decide(action), id),
            None => without_policy(what, name, id),
        }
    }

    /// What becomes of a use of something, by what the policy says.
    fn as_decided(
        &self,
        what: Thing,
        name: &str,
        decision: &Decision<'_>,
        id: DecisionId,
    ) -> Judgement {
        // Only a refusal has something to say then.
        if self.is_shut() && decision.outcome() != Outcome::Deny {
            return without_policy(what, name, id);
        }
        let refused = |name: &str, said: &Decision<'_>| {
            if said.outcome() == Outcome::Ask {
                return unapproved(what, name, said.rule(), id.to_string());
            }
            let again = match said.is_by_check() {
                true => Again::Otherwise,
                false => Again::Never,
            };
            let (rule, reason) = (said.rule(), said.reason());
            refused(what, name, rule, reason, again, id.to_string())
        };
        let shown = Some(shown_thing(what, name));
        let rule = decision.rule();
        // A dispatcher is refused for what it should call.
        let decisive = decision.inner().unwrap_or(name);
        let mut judgement = match decision.outcome() {
            Outcome::Allow => Judgement::allowed(rule, shown),
            Outcome::Deny | Outcome::Ask => {
                Judgement::denied(rule, shown, refused(decisive, decision))
            }
            Outcome::Hide => {
                let refusal = match decision.unnamed() {
                    Some(said) => refused(said.inner().unwrap_or(name), said),
                    None if self.denies_by_default() => by_default(what, decisive),
                    None => unknown(what, decisive),
                };
                Judgement {
                    verdict: Verdict::Hidden,
                    ..Judgement::denied(HIDDEN, shown, refusal)
                }
            }
        };
        judgement.thing = Some(what);
        judgement.note(decision);
        // Somebody is asked about it as about others that the same pattern names.
        let asks = decision.unnamed().and_then(Decision::approval);
        if let (Outcome::Hide, Some(demand)) = (decision.outcome(), asks) {
            judgement.demand = Some(Box::new(demand.into()));
            let spending = decision.unnamed().map_or(&[][..], Decision::spending);
            judgement.spending = spending.iter().cloned().collect();
            judgement.approved = Some(Box::new(match self.denies_by_default() {
                true => by_default(what, decisive),
                false => unknown(what, decisive),
            }));
        }
        judgement
    }

    /// A use of a task: it has to be the caller's, and the tool that it was made
    /// with has to be one that the caller may call now. Else it is `unknown`.
    fn use_task(
        &self,
        task: &str,
        unknown: Refusal,
        decision_id: DecisionId,
    ) -> Result<Judgement, Refusal> {
        let Some(tool) = self.sessions.tool_of(task, &self.caller)? else {
            return Ok(Judgement::denied(SESSION, None, unknown));
        };
        let action = self.call_of(&tool);
        let mut judgement = match &self.policy {
            Some(policy) => {
                // What the task was made by was approved, if need be.
                let decision = policy.decide_name(&action).approved();
                let judgement = self.as_decided(Thing::Tool, &tool, &decision, decision_id);
                // The call was charged, and this is none.
                Judgement {
                    spending: SmallVec::new(),
                    ..judgement
                }
            }
            None => without_policy(Thing::Tool, &tool, decision_id),
        };
        judgement.refusal = judgement.refusal.map(|refusal| match refusal {
            // What is asked for is no result of a tool.
            Refusal::Tool { text, place } => Refusal::Denied { text, place },
            _ => unknown,
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
            Some(Reference::Prompt(name)) => {
                let action = Action::complete_prompt(name).by(&self.caller);
                Ok(self.use_thing(Thing::Prompt, name, &action, decision))
            }
            Some(Reference::Resource(uri)) => Ok(self.use_resource(uri, call, decision)),
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
            .and_then(|params| params.subscriptions.as_deref());
        let (resources, tasks) = match subscriptions {
            None => return Ok(Judgement::PASSES),
            Some(Subscriptions::To { resources, tasks }) => (resources, tasks),
            Some(Subscriptions::Unreadable) => {
                return Err(Refusal::Params {
                    text: "params.notifications must be an object in which \
                           resourceSubscriptions and taskIds are lists of at most 1000 \
                           strings."
                        .to_owned(),
                });
            }
        };
        self.sessions.look_up(tasks, &self.caller);
        let resources = resources
            .iter()
            .map(|uri| Ok(self.use_resource(uri, call, decision).at_once()));
        let tasks = tasks
            .iter()
            .map(|task| self.use_task(task, unknown(Thing::Task, task), decision));
        let mut all: Option<Judgement> = None;
        for judgement in resources.chain(tasks) {
            let judgement = judgement?;
            match &mut all {
                _ if judgement.refusal.is_some() => return Ok(judgement),
                None => all = Some(judgement),
                Some(all) => all.join(judgement),
            }
        }
        Ok(all.unwrap_or(Judgement::PASSES))
    }
}

/// Whether it asks something of the server that judging by name does not see.
fn asks_of_server(subject: Subject) -> bool {
    matches!(
        subject,
        Subject::Setting | Subject::AllTasks | Subject::Subscriptions
    )
}

/// The refusal of a use of something, to a caller without a policy.
fn without_policy(what: Thing, name: &str, id: DecisionId) -> Judgement {
    let refusal = refused(what, name, NO_POLICY, None, Again::Never, id.to_string());
    Judgement::denied(NO_POLICY, Some(shown_thing(what, name)), refusal)
}

fn shown_thing(what: Thing, name: &str) -> Arc<str> {
    match what {
        Thing::Resource => shown_uri(name).into(),
        Thing::Tool | Thing::Prompt | Thing::Task => (*shown_text(name)).into(),
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

/// The refusal of a task that the caller does not have. Whoever cannot follow
/// tasks is told that first, as by a server.
fn unknown_task(call: &Call<'_>, task: &str) -> Refusal {
    match call.era() {
        Era::Modern if !call.declares_tasks() => Refusal::TasksUndeclared,
        _ => unknown(Thing::Task, task),
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
