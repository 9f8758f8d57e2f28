//! Judges messages: asks the policy, and puts its answer into the words of the
//! protocol.
//!
//! No HTTP and no JSON in here: a message comes in, a verdict goes out.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::caller::Caller;
use crate::mcp::list::{List, Visibility};
use crate::mcp::message::{Call, Message};
use crate::mcp::method::{self, Kind, Subject};
use crate::mcp::params::{Name, Param, Reference, Subscriptions};
use crate::mcp::reply::{Place, Refusal, Thing};
use crate::mcp::shown;
use crate::policy::{Action, Decision, DefaultAction, Outcome, Policy};
use crate::source::PolicySource;

/// Finds the policy that a request is judged by.
#[derive(Clone)]
pub(crate) struct Engine {
    source: Arc<dyn PolicySource>,
}

/// Judges one request and its answer, by one policy.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    /// `None` for a caller without a policy.
    policy: Option<Policy>,
    /// Whether another caller could get another verdict.
    per_caller: bool,
    caller: Caller,
}

impl Engine {
    pub(crate) fn new(source: impl PolicySource) -> Self {
        Self {
            source: Arc::new(source),
        }
    }

    /// The judge for a request of this caller.
    pub(crate) fn judge_for(&self, caller: &Caller) -> Result<Judge, Refusal> {
        let ask = AssertUnwindSafe(|| Judge {
            policy: self.source.policy_for(caller),
            per_caller: self.source.depends_on_caller(),
            caller: caller.clone(),
        });
        catch_unwind(ask).map_err(|_| {
            tracing::error!("the policy source panicked; the request is refused");
            Refusal::Failed
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Judge {
    /// Who sent the request.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether a message may go on; if not, how it is refused.
    pub(crate) fn judge(&self, message: &Message<'_>) -> Result<(), Refusal> {
        let (call, kind) = match message {
            Message::Request(_, call) => (call, Kind::Request),
            Message::Notification(call) => (call, Kind::Notification),
            // The answer to a request that the server made.
            Message::Response => return Ok(()),
        };
        match method::lookup(&call.method) {
            Some(known) if known.kind != kind => Err(wrong_kind(known.kind)),
            Some(known) => self.judge_known(known.subject, call),
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

    fn judge_known(&self, subject: Subject, call: &Call<'_>) -> Result<(), Refusal> {
        match subject {
            Subject::Nothing => Ok(()),
            Subject::Tool => {
                let name = name_in(call, Param::Name, "a tool name")?;
                check_arguments(call)?;
                self.use_thing(call, Thing::Tool, name)
            }
            Subject::Prompt => {
                let name = name_in(call, Param::Name, "a prompt name")?;
                check_arguments(call)?;
                self.use_thing(call, Thing::Prompt, name)
            }
            Subject::Resource => {
                let uri = name_in(call, Param::Uri, "a URI")?;
                self.use_thing(call, Thing::Resource, uri)
            }
            Subject::Reference => self.complete(call),
            Subject::Subscriptions => self.listen(call),
            // Which task belongs to whom is not known, so none is anybody's.
            Subject::Task => {
                let id = name_in(call, Param::TaskId, "a task id")?;
                Err(unknown(Thing::Task, id))
            }
            Subject::AllTasks => Err(Refusal::UnknownMethod {
                method: call.method.to_string(),
            }),
        }
    }

    /// A method that only `methods` can allow.
    fn judge_unknown(&self, call: &Call<'_>, kind: Kind) -> Result<(), Refusal> {
        if call.method.starts_with("notifications/") && kind == Kind::Request {
            return Err(wrong_kind(Kind::Notification));
        }
        let decision = self.decide(&Action::other_method(&call.method));
        self.report(call, None, decision.as_ref());
        if decision.is_some_and(|decision| decision.is_allowed()) {
            return Ok(());
        }
        Err(Refusal::UnknownMethod {
            method: call.method.to_string(),
        })
    }

    /// A use of something that the policy names.
    fn use_thing(&self, call: &Call<'_>, what: Thing, name: &str) -> Result<(), Refusal> {
        let action = match what {
            Thing::Tool => Action::call_tool(name),
            Thing::Prompt => Action::get_prompt(name),
            Thing::Resource | Thing::Task => Action::read_resource(name),
        };
        let decision = self.decide(&action);
        self.report(call, Some(name), decision.as_ref());
        let Some(decision) = decision else {
            return Err(refused(what, name, NO_POLICY, None));
        };
        match decision.outcome() {
            Outcome::Allow => Ok(()),
            Outcome::Hide => Err(match self.like_unnamed(&action) {
                Some((rule, reason)) => refused(what, name, rule, reason),
                None => unknown(what, name),
            }),
            _ => Err(refused(what, name, decision.rule(), decision.reason())),
        }
    }

    /// Tells the log what was decided: names and rules, never a value.
    fn report(&self, call: &Call<'_>, name: Option<&str>, decision: Option<&Decision<'_>>) {
        // What follows the path of a URI is more of a value than of a name.
        let name = || {
            name.and_then(|name| name.split(['?', '#']).next())
                .map(shown)
        };
        let rule = decision.map_or(NO_POLICY, Decision::rule);
        let caller = self.caller.id();
        // The fields are only worked out where somebody listens.
        if decision.is_some_and(Decision::is_allowed) {
            tracing::debug!(target: LOG, caller, method = shown(&call.method), name = name(), rule, "allowed");
        } else {
            tracing::info!(target: LOG, caller, method = shown(&call.method), name = name(), rule, "refused");
        }
    }

    /// `completion/complete` tells of what it refers to, so it is judged as a
    /// use of that.
    fn complete(&self, call: &Call<'_>) -> Result<(), Refusal> {
        match call
            .params
            .as_ref()
            .and_then(|params| params.reference.as_ref())
        {
            Some(Reference::Prompt(name)) => self.use_thing(call, Thing::Prompt, name),
            Some(Reference::Resource(uri)) => self.use_thing(call, Thing::Resource, uri),
            Some(Reference::Unreadable) | None => Err(Refusal::Params {
                text: "params.ref must be an object with the type ref/prompt and a name, \
                       or the type ref/resource and a uri."
                    .to_owned(),
            }),
        }
    }

    /// One refused URI refuses the whole subscription.
    fn listen(&self, call: &Call<'_>) -> Result<(), Refusal> {
        let subscriptions = call
            .params
            .as_ref()
            .and_then(|params| params.subscriptions.as_ref());
        match subscriptions {
            None => Ok(()),
            Some(Subscriptions::To { tasks: true, .. }) => Err(Refusal::Params {
                text: "params.notifications.taskIds names a task that is not known.".to_owned(),
            }),
            Some(Subscriptions::To { resources, .. }) => resources
                .iter()
                .try_for_each(|uri| self.use_thing(call, Thing::Resource, uri)),
            Some(Subscriptions::Unreadable) => Err(Refusal::Params {
                text: "params.notifications must be an object in which resourceSubscriptions \
                       and taskIds are lists of strings."
                    .to_owned(),
            }),
        }
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
        }
    }

    fn shows(&self, list: List, name: &str) -> bool {
        let action = match list {
            List::Tools => Action::call_tool(name),
            List::Prompts => Action::get_prompt(name),
            List::Resources => Action::read_resource(name),
            List::ResourceTemplates => {
                let policy = self.policy.as_ref();
                return policy.is_some_and(|policy| policy.shows_template(name));
            }
        };
        self.decide(&action)
            .is_some_and(|decision| decision.outcome() != Outcome::Hide)
    }
}

/// The target of what is logged.
const LOG: &str = "mcp_policy";

/// The rule that refuses what nothing names.
const DEFAULT_DENY: &str = "(default deny)";

/// The rule that refuses callers for whom there is no policy.
const NO_POLICY: &str = "(no policy)";

fn wrong_kind(right: Kind) -> Refusal {
    let text = match right {
        Kind::Request => "This method is a request and needs an id.",
        Kind::Notification => "This method is a notification and must not have an id.",
    };
    Refusal::Malformed {
        code: -32600,
        text: text.to_owned(),
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

fn unknown(what: Thing, name: &str) -> Refusal {
    Refusal::Unknown {
        what,
        name: name.to_owned(),
    }
}

fn refused(what: Thing, name: &str, rule: &str, reason: Option<&str>) -> Refusal {
    let noun = match what {
        Thing::Tool => "tool",
        Thing::Prompt => "prompt",
        Thing::Resource => "resource",
        Thing::Task => "task",
    };
    let (text, place) = refusal_text(noun, name, rule, reason);
    match what {
        Thing::Tool => Refusal::Tool { text, place },
        Thing::Prompt | Thing::Resource | Thing::Task => Refusal::Denied { text, place },
    }
}

/// A text that a model can act on: what was refused, why, and what to do.
fn refusal_text(what: &str, name: &str, rule: &str, reason: Option<&str>) -> (String, Place) {
    let reason = reason.unwrap_or(match rule {
        DEFAULT_DENY => "Only what the policy names is allowed.",
        NO_POLICY => "There is no policy for this caller, so nothing is allowed.",
        _ => "The policy does not allow it.",
    });
    let text = format!(
        "Policy violation: the {what} \"{}\" was not used. {reason} \
         Trying again will not help; use something else or ask the operator. [rule {rule}]",
        shown(name)
    );
    let place = Place {
        rule: rule.to_owned(),
        reason: reason.to_owned(),
    };
    (text, place)
}
