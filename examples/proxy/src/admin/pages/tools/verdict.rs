//! What the policies in front of a server say of its tools, and why.

use mcp_policy::{
    Action, Caller, Decision, ExplanationStep, ListedTools, Mode, Outcome, Policy, PolicyDocument,
    RiskCategory, Rule, RuleAction,
};

use crate::{
    json_text::beginning,
    lockdown::Somebody,
    running::{Now, policy_id},
    verdicts::conditions,
};

/// Policies of one server that are asked.
pub(super) const MOST_POLICIES: usize = 20;
/// Grants that are named together.
const MOST_GRANTS: usize = 5;
/// Characters of a name, and of a text of a policy.
const NAME: usize = 100;
const TEXT: usize = 500;
/// Checks and limits of one rule that are told.
const MOST_NOTES: usize = 12;

/// What becomes of a call, as far as its tool says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Allowed,
    /// Allowed or not, by more than the tool.
    Depends,
    /// Somebody has to approve it.
    Asks,
    Denied,
    Hidden,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Allowed,
        Self::Depends,
        Self::Asks,
        Self::Denied,
        Self::Hidden,
    ];

    /// As it is in the query, and a class of the style.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Depends => "depends",
            Self::Asks => "asks",
            Self::Denied => "denied",
            Self::Hidden => "hidden",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Depends => "depends on the call",
            Self::Asks => "asks for approval",
            Self::Denied => "denied",
            Self::Hidden => "hidden",
        }
    }
}

/// A policy in front of a server.
pub(super) struct Front<'n> {
    policy: &'n Policy,
    id: String,
    file: String,
    /// For whom, in words; with grants that are locked apart.
    who: Vec<String>,
    /// Whether that is locked down, whatever the policy says.
    is_locked: bool,
}

/// Those in front of a server.
pub(super) fn in_front_of<'n>(server: &str, now: &'n Now) -> Vec<Front<'n>> {
    let mut fronts = Vec::new();
    let locks = now.lockdown.as_ref().map(|(_, locks)| locks);
    for one in &now.policies {
        let uses = one.uses.iter().filter(|held| held.server == server);
        let (locked, free): (Vec<_>, Vec<_>) = uses.partition(|held| {
            let grant = held.grant.as_deref();
            let caller = grant.map(Caller::new);
            let caller = caller.as_ref().map_or("", Caller::id);
            locks.is_some_and(|locks| locks.concerns(server, Somebody { grant, caller }))
        });
        for (uses, is_locked) in [(free, false), (locked, true)] {
            if uses.is_empty() {
                continue;
            }
            let who = uses.iter().map(|held| match &held.grant {
                None => "everybody".to_owned(),
                Some(label) => format!("grant {}", beginning(label, NAME)),
            });
            fronts.push(Front {
                policy: &one.policy,
                id: policy_id(&one.path),
                file: beginning(
                    &one.path.file_name().unwrap_or_default().to_string_lossy(),
                    NAME,
                ),
                who: who.collect(),
                is_locked,
            });
        }
    }
    fronts
}

impl Front<'_> {
    /// What becomes of a call.
    pub(super) fn kind(&self, tool: &str, listed: &ListedTools) -> Kind {
        if self.is_locked {
            return Kind::Denied;
        }
        let call = Action::call_tool(tool).with_tools(listed);
        self.kind_of(&call, &self.policy.decide_name(&call))
    }

    /// The same, once the policy has decided.
    fn kind_of(&self, call: &Action<'_>, decision: &Decision<'_>) -> Kind {
        match decision.outcome() {
            Outcome::Allow => {
                let has_conditions = self.policy.is_conditional(call)
                    && rules(self.policy.document(), decision.rule()).any(has_conditions);
                match has_conditions {
                    true => Kind::Depends,
                    false => Kind::Allowed,
                }
            }
            Outcome::Ask => Kind::Asks,
            Outcome::Hide => Kind::Hidden,
            _ => Kind::Denied,
        }
    }

    fn said(&self, tool: &str, listed: &ListedTools) -> Said {
        if self.is_locked {
            return Said {
                kind: Kind::Denied,
                rule: "(lockdown)".to_owned(),
                because: "it is locked down".to_owned(),
                reason: None,
                notes: Vec::new(),
            };
        }
        let call = Action::call_tool(tool).with_tools(listed);
        let decision = self.policy.decide_name(&call);
        let kind = self.kind_of(&call, &decision);
        let explanation = self.policy.explain(&call);
        let mut names = explanation.steps().iter().filter_map(|step| match step {
            ExplanationStep::Name { because, .. } => Some(&**because),
            _ => None,
        });
        let mut notes = Vec::new();
        if matches!(kind, Kind::Allowed | Kind::Depends | Kind::Asks) {
            for rule in rules(self.policy.document(), decision.rule()) {
                add_notes(rule, &mut notes);
            }
        }
        if let Some(shadow) = decision.shadow() {
            let (outcome, rule) = (shadow.outcome(), beginning(shadow.rule(), TEXT));
            notes.push(format!("Without shadow: {} by {rule}", word(outcome)));
        }
        notes.truncate(MOST_NOTES);
        let notes = notes.iter().map(|note| beginning(note, TEXT)).collect();
        Said {
            kind,
            rule: beginning(decision.rule(), TEXT),
            because: beginning(names.next().unwrap_or_default(), TEXT),
            reason: decision.reason().map(|reason| beginning(reason, TEXT)),
            notes,
        }
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => Kind::Allowed.words(),
        Outcome::Ask => Kind::Asks.words(),
        Outcome::Hide => Kind::Hidden.words(),
        _ => Kind::Denied.words(),
    }
}

/// What a policy says of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) kind: Kind,
    /// Where the policy says so.
    pub(super) rule: String,
    /// Why it is that and nothing else.
    pub(super) because: String,
    /// What callers are told.
    pub(super) reason: Option<String>,
    /// Under which conditions, and how often.
    pub(super) notes: Vec<String>,
}

/// The same said by several policies, or to several callers.
pub(super) struct Verdict {
    pub(super) said: Said,
    /// For whom.
    who: Vec<String>,
    /// The policies, by what they are called in URLs, and their files.
    pub(super) policies: Vec<(String, String)>,
}

/// What all of them say of a tool; what is the same is said once.
pub(super) fn of(fronts: &[Front<'_>], tool: &str, listed: &ListedTools) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for front in fronts.iter().take(MOST_POLICIES) {
        let said = front.said(tool, listed);
        let policy = (front.id.clone(), front.file.clone());
        match verdicts.iter_mut().find(|other| other.said == said) {
            Some(same) => {
                same.who.extend(front.who.iter().cloned());
                same.policies.push(policy);
            }
            None => verdicts.push(Verdict {
                said,
                who: front.who.clone(),
                policies: vec![policy],
            }),
        }
    }
    verdicts
}

impl Verdict {
    /// For whom it is, in words.
    pub(super) fn for_whom(&self) -> String {
        let some = self.who.get(..MOST_GRANTS).unwrap_or(&self.who).join(", ");
        match self.who.len().saturating_sub(MOST_GRANTS) {
            0 => some,
            more => format!("{some} and {more} more"),
        }
    }
}

/// The rules that have a say in what the rule at a place allows.
fn rules<'d>(document: &'d PolicyDocument, place: &str) -> impl Iterator<Item = &'d Rule> {
    let mut tokens = place.split('/').skip(1);
    let section = tokens.next().unwrap_or_default();
    let name = tokens.next().unwrap_or_default();
    let name = crate::pointer::unescape(name);
    let own = match section {
        "tools" => document.tools.get(&name),
        "risk" => {
            let mut all = RiskCategory::ALL.into_iter();
            let category = all.find(|category| category.as_str() == name);
            category.and_then(|category| document.risk.get(&category))
        }
        _ => None,
    };
    document.all_tools.iter().chain(own)
}

/// Whether more than the name decides, other than how often it was called.
fn has_conditions(rule: &Rule) -> bool {
    let asks = rule.require_approval.is_some();
    let checks = !rule.require.is_empty() || !rule.deny_if.is_empty();
    let counts = rule
        .limits
        .iter()
        .any(|limit| limit.increment_from.is_some());
    rule.mode != Mode::Shadow && (asks || checks || counts || rule.unwrap.is_some())
}

/// What a rule asks of a call that it allows.
fn add_notes(rule: &Rule, notes: &mut Vec<String>) {
    let only_tried = match rule.mode {
        Mode::Shadow => " (only tried, in shadow)",
        _ => "",
    };
    let mut note = |text: String| notes.push(format!("{text}{only_tried}"));
    for check in &rule.require {
        note(format!("Only if {}", conditions(&check.conditions)));
    }
    for check in &rule.deny_if {
        note(format!("Not if {}", conditions(&check.conditions)));
    }
    for limit in &rule.limits {
        let (max, seconds) = (&limit.max, limit.window.as_secs());
        let counted = match &limit.increment_from {
            Some(path) => format!(", counted by {}", beginning(path, NAME)),
            None => String::new(),
        };
        let counter = beginning(&limit.counter, NAME);
        note(format!(
            "At most {max} of {counter} in {}{counted}",
            time(seconds)
        ));
    }
    if let Some(rate) = &rule.rate_limit {
        note(format!(
            "At most {} calls in {}",
            rate.max,
            time(rate.window.as_secs())
        ));
    }
    if let Some(most) = &rule.max_concurrent {
        note(format!("At most {} at once", most.max));
    }
    if let Some(approval) = &rule.require_approval {
        note(match approval.conditions.as_slice() {
            [] => "Somebody has to approve each call".to_owned(),
            all => format!("Somebody has to approve it if {}", conditions(all)),
        });
    } else if rule.action == RuleAction::RequireApproval {
        note("Somebody has to approve each call".to_owned());
    }
    if rule.unwrap.is_some() {
        note("The calls inside it are judged, too".to_owned());
    }
}

fn time(seconds: u32) -> String {
    match seconds {
        60 => "a minute".to_owned(),
        3_600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds => format!("{seconds} s"),
    }
}
