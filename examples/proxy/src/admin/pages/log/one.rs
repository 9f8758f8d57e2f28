//! Why one decision is what it is.

use std::{path::Path, str::FromStr};

use askama::Template;
use http::StatusCode;
use mcp_policy::{Action, ApprovalId, Caller, DefaultAction, ExplanationStep, Policy, RuleAction};

use super::super::super::api::Refusal;
use super::super::{
    Page, Pages, could_not_be_made,
    frame::{Frame, Here},
    sessions::Visitor,
    words::{link, of_policy, short},
};
use super::{
    Line, PATH,
    place::{self, Part},
    records::{Found, Row},
};
use crate::{
    audit::message::Message,
    json_text::visible,
    lockdown, page,
    pointer::escape,
    running::{Now, PolicyNow},
};

/// Places that hide something, of which is shown what stands there.
const MOST_HIDING: usize = 5;

#[derive(Template)]
#[template(path = "log_one.html")]
struct One<'a> {
    frame: Frame<'a>,
    line: Line,
    facts: Facts,
    why: &'static str,
    /// Why nothing else says so, of what is hidden.
    because: Option<String>,
    reason: Option<String>,
    policy: Standing,
    parts: Vec<Part>,
    shadow: Option<Shadow>,
    conditions: Vec<Condition>,
}

/// What was recorded besides.
struct Facts {
    session: Option<String>,
    more_names: Vec<String>,
    argument_keys: Vec<String>,
    trace: Option<String>,
    status: Option<u16>,
    approval: Option<String>,
    /// Other messages of the same caller.
    of_caller: Option<String>,
    /// Other messages that were decided so.
    of_rule: String,
}

/// What would have been decided.
struct Shadow {
    verdict: String,
    rule: String,
    parts: Vec<Part>,
}

struct Condition {
    place: String,
    text: Option<String>,
    truth: String,
}

/// Which policy it was, and what has become of it.
#[derive(Default)]
struct Standing {
    name: Option<String>,
    digest: Option<String>,
    /// Where it is, or the one that there is now in its place.
    file: Option<String>,
    link: Option<String>,
    digest_now: Option<String>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No policy decided.
    #[default]
    None,
    /// It still is the one.
    Current,
    /// Another one is in its place, and what is shown is the old one.
    Changed,
    /// Another one is in its place, and what is shown is that.
    Unknown,
    /// It was locked down.
    Lockdown,
}

impl Pages {
    pub(super) async fn explained(&self, visitor: &Visitor, id: &str) -> Result<Page, Refusal> {
        let Some(found) = self.records.one(id).await? else {
            let text = match self.records.are_in_a_file() {
                true => "There is no decision with this id, or it is not kept any more.",
                false => {
                    "There is no decision with this id among the last 1000: an audit in \
                     `sqlite:PATH` keeps more."
                }
            };
            return Err(Refusal::new(StatusCode::NOT_FOUND, text));
        };
        let now = self.now().await?;
        let visitor = visitor.clone();
        // The policy can be long.
        let page = tokio::task::spawn_blocking(move || {
            let one = One::of(Frame::new(&visitor, Here::Log), found, &now);
            page::html(StatusCode::OK, &one)
        });
        page.await.map_err(|_| could_not_be_made())
    }
}

impl<'a> One<'a> {
    fn of(frame: Frame<'a>, found: Found, now: &Now) -> Self {
        let Found { message, policy } = found;
        let (standing, policy) = Standing::of(&message, policy, now);
        // Of another policy only the text says something, and not why it was decided.
        let decided = policy.as_ref().filter(|_| standing.state != State::Unknown);
        let rule = message.rule().to_owned();
        let parts = policy.as_ref().map(|policy| parts(policy, &message));
        let hides = decided.filter(|_| rule == "(hidden)");
        let because = hides.and_then(|policy| because(policy, &message));
        let reason = decided
            .filter(|_| !matches!(message.verdict(), "allowed" | "hidden"))
            .and_then(|policy| place::reason(policy, &rule));
        let details = message.details();
        let shadow = details.shadow_verdict.as_deref().map(|verdict| {
            let rule = details.shadow_rule.as_deref().unwrap_or_default();
            let parts = policy.as_ref().map(|policy| place::parts(policy, rule));
            Shadow {
                verdict: short(verdict),
                rule: short(rule),
                parts: parts.unwrap_or_default(),
            }
        });
        let conditions = details.conditions.iter().map(|one| Condition {
            place: short(&one.place),
            text: decided.and_then(|policy| place::condition(policy, &one.place)),
            truth: short(&one.truth),
        });
        Self {
            frame,
            facts: Facts::of(&message),
            why: why(message.verdict(), &rule),
            because,
            reason: reason.map(|reason| visible(&reason)),
            parts: parts.unwrap_or_default(),
            shadow,
            conditions: conditions.collect(),
            policy: standing,
            line: Line::of(&Row { number: 0, message }),
        }
    }
}

impl Facts {
    fn of(message: &Message) -> Self {
        let details = message.details();
        let all = |names: &[String]| names.iter().map(|name| short(name)).collect();
        let approval = details.approval.as_deref();
        let approval = approval.and_then(|id| ApprovalId::from_str(id).ok());
        let of_caller = message
            .caller()
            .map(|caller| link(PATH, &[("caller", caller)]));
        Self {
            session: details.session.as_deref().map(short),
            more_names: all(&details.more_names),
            argument_keys: all(&details.argument_keys),
            trace: details.traceparent.as_deref().map(short),
            status: message.outcome().and_then(|outcome| outcome.status),
            approval: approval.map(|id| id.to_string()),
            of_caller,
            of_rule: link(PATH, &[("rule", message.rule())]),
        }
    }
}

impl Standing {
    /// What is to be said of it, and of which policy the text is shown.
    fn of(message: &Message, decided: Option<Policy>, now: &Now) -> (Self, Option<Policy>) {
        let details = message.details();
        let Some(digest) = details.policy_digest.as_deref() else {
            return (Self::default(), None);
        };
        let is_same = |one: &&PolicyNow| one.policy.digest() == digest;
        let here = in_its_place(message, now);
        // Several files can hold the same text.
        let same = here
            .filter(is_same)
            .or_else(|| now.policies.iter().find(is_same));
        let present = same.or(here);
        let is_lockdown = lockdown::is_policy(digest);
        let state = match (same, &decided) {
            (Some(_), _) => State::Current,
            (None, _) if is_lockdown => State::Lockdown,
            (None, Some(_)) => State::Changed,
            (None, None) => State::Unknown,
        };
        let present = present.filter(|_| state != State::Lockdown);
        let file = present.map(|one| &*one.path);
        let changed = present.filter(|_| state != State::Current);
        let standing = Self {
            name: details.policy.as_deref().map(short),
            digest: Some(short(digest)),
            file: file.map(|file| visible(&file.display().to_string())),
            link: file.map(|file: &Path| of_policy(file)),
            digest_now: changed.map(|one| one.policy.digest().to_owned()),
            state,
        };
        let shown = decided.or_else(|| present.map(|one| one.policy.clone()));
        (standing, shown)
    }

    /// For the template: whether what is shown is not what decided.
    fn is_unknown(&self) -> bool {
        self.state == State::Unknown
    }

    fn has_changed(&self) -> bool {
        self.state == State::Changed
    }

    fn was_locked_down(&self) -> bool {
        self.state == State::Lockdown
    }
}

/// The policy that would decide now.
fn in_its_place<'n>(message: &Message, now: &'n Now) -> Option<&'n PolicyNow> {
    let (server, caller) = (message.server()?, message.caller());
    let is_theirs = |label: &str| caller == Some(Caller::new(label).id());
    now.policies.iter().find(|one| {
        let mut uses = one.uses.iter().filter(|one| one.server == server);
        uses.any(|one| one.grant.as_deref().is_none_or(is_theirs))
    })
}

/// What the policy says there.
fn parts(policy: &Policy, message: &Message) -> Vec<Part> {
    match message.rule() {
        "(default deny)" => place::parts(policy, "/default"),
        "(not pinned)" | "(drift)" => place::parts(policy, "/pins"),
        "(hidden)" => hiding(policy, message)
            .iter()
            .take(MOST_HIDING)
            .flat_map(|rule| place::parts(policy, rule))
            .collect(),
        rule => place::parts(policy, rule),
    }
}

/// By what something can be hidden: the entry that names it, or else everything that
/// hides something.
fn hiding(policy: &Policy, message: &Message) -> Vec<String> {
    let document = policy.document();
    let (section, rules) = match message.how() {
        "prompts/get" => ("prompts", &document.prompts),
        "tools/call" => ("tools", &document.tools),
        _ => ("resources", &document.resources),
    };
    let name = message.inner().or(message.name()).unwrap_or_default();
    let place = |name: &str| format!("/{section}/{}", escape(name));
    let hides = |name: &str| {
        let rule = rules.get(name);
        rule.is_some_and(|rule| rule.action == RuleAction::Hide)
    };
    if hides(name) {
        return vec![place(name)];
    }
    let mut places = Vec::new();
    if !document.hide.is_empty() && section == "tools" {
        places.push("/hide".to_owned());
    }
    let all = rules.keys().filter(|name| hides(name));
    places.extend(all.map(|name| place(name)));
    if document.default == DefaultAction::Hide {
        places.push("/default".to_owned());
    }
    places
}

/// Why a tool is hidden, as `explain` says it.
fn because(policy: &Policy, message: &Message) -> Option<String> {
    let name = message.inner().or(message.name())?;
    if message.how() != "tools/call" {
        return None;
    }
    let action = Action::call_tool(name);
    let explanation = policy.explain(&action);
    let mut steps = explanation.steps().iter();
    let because = steps.find_map(|step| match step {
        ExplanationStep::Name { because, .. } => Some(because),
        _ => None,
    });
    because.map(|because| visible(because))
}

/// What it means.
fn why(verdict: &str, rule: &str) -> &'static str {
    match rule {
        "(default deny)" => {
            "Nothing in the policy names it, and the policy denies what it does not name."
        }
        "(hidden)" => "The policy hides it, so the caller was told that there is no such thing.",
        "(no policy)" => "The caller has no policy, so everything is refused.",
        "(protocol)" => "The protocol decides this, whatever the policy says.",
        "(session)" => {
            "It is a session or a task of somebody else, or too many sessions were begun."
        }
        "(store)" => "Something that had to be asked did not answer.",
        "(limits full)" => "There is no room to count another caller.",
        "(audit)" => "It could not be recorded, so it was refused.",
        "(not pinned)" => "The policy lets only those tools pass whose definition is pinned.",
        "(drift)" => "The definition of the tool is not what it was when it was pinned.",
        "/mode" => "The whole policy is in shadow, so everything passes.",
        _ => by_verdict(verdict, rule),
    }
}

fn by_verdict(verdict: &str, rule: &str) -> &'static str {
    match verdict {
        "allowed" => "The policy allows it here.",
        "denied" if rule.contains("/deny_if/") => {
            "This must not be true, and it was, or nobody could tell."
        }
        "denied" if rule.contains("/require/") => {
            "This has to be true, and it was not, or nobody could tell."
        }
        "denied" if rule.ends_with("/require_approval") => {
            "The policy wants an approval, and it was not given."
        }
        "denied" => "The policy refuses it here.",
        "limited" => "This limit was used up.",
        "waiting" => "The policy wants somebody to approve it first.",
        "invalid" => "It is not a message that may be sent like this.",
        "unavailable" => "It could not be decided, counted or recorded.",
        _ => "",
    }
}
