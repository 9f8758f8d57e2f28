//! The rule that is open: what it says, and what could be said about it.

use serde_json::Value;

use super::{
    draft::button,
    edit::{Node, steps},
    field::Field,
    schema::{self, Property},
};
use crate::{json_text::visible, names::shown};

/// Conditions and limits that can be changed with fields.
const MOST: usize = 100;

const SCOPES_OF_SESSIONS: [(&str, &str); 3] = [
    ("session", "each session"),
    ("caller", "each caller"),
    ("server", "all together"),
];
const SCOPES: [(&str, &str); 3] = [
    ("caller", "each caller"),
    ("session", "each session"),
    ("server", "all together"),
];

pub(super) const MODES: [(&str, &str); 2] = [
    ("enforce", "enforced"),
    ("shadow", "only tried and recorded"),
];

/// What a rule comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Nothing,
    Allow,
    Deny,
    Hide,
    /// Allows, under conditions.
    Custom,
}

impl State {
    pub(super) fn of(rule: Option<Node<'_>>) -> Self {
        let Some(rule) = rule else {
            return Self::Nothing;
        };
        let members = rule.members().unwrap_or_default();
        let action = members.iter().find(|(name, _)| name == "action");
        match action.map(|(_, action)| action.text()) {
            Some("\"deny\"") => return Self::Deny,
            Some("\"hide\"") => return Self::Hide,
            Some("\"allow\"") | None => {}
            Some(_) => return Self::Custom,
        }
        let is_said = |name: &str| matches!(name, "action" | "description" | "reason");
        match members.iter().all(|(name, _)| is_said(name)) {
            true => Self::Allow,
            false => Self::Custom,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "default",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hide => "hide",
            Self::Custom => "custom",
        }
    }
}

/// The rule that is open.
pub(super) struct Opened {
    pub(super) title: String,
    pub(super) place: String,
    pub(super) state: State,
    pub(super) words: Vec<Field>,
    pub(super) counts: Vec<Field>,
    pub(super) approval: Vec<Field>,
    pub(super) conditions: Vec<Condition>,
    pub(super) limits: Vec<Limit>,
    pub(super) arguments: Vec<Argument>,
    /// Arguments of which the sum can be limited.
    pub(super) sums: Vec<(String, String)>,
    /// Whether it calls other tools.
    pub(super) unwraps: bool,
}

/// A condition of it.
pub(super) struct Condition {
    pub(super) effect: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) remove: String,
}

/// A limit of it.
pub(super) struct Limit {
    pub(super) fields: Vec<Field>,
    pub(super) remove: String,
}

/// An argument of the tool, for a further condition.
pub(super) struct Argument {
    pub(super) index: String,
    pub(super) path: String,
    pub(super) kind: &'static str,
    pub(super) is_required: bool,
    pub(super) description: String,
    /// Values that can be picked: how they are in the form, and as they are read.
    pub(super) choices: Vec<(String, String)>,
    pub(super) operators: Vec<(&'static str, &'static str)>,
    pub(super) add: String,
}

impl Opened {
    /// The rule at a place; `None` if no rule can be there.
    pub(super) fn of(root: Node<'_>, at: &str, tool: Option<&Value>) -> Option<Self> {
        let place = steps(at)?;
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        let (title, is_tool) = match place.as_slice() {
            ["all_tools"] => ("Every tool call".to_owned(), true),
            ["risk", category] => (format!("Tools by risk: {}", shown(category)), true),
            ["tools", name] => (shown(name), true),
            ["resources" | "prompts", name] => (shown(name), false),
            _ => return None,
        };
        let rule = root.at(&place);
        let state = State::of(rule);
        let properties = tool.map(schema::properties).unwrap_or_default();
        let mut opened = Self {
            title,
            place: shown(at),
            state,
            words: words(root, &place, state),
            counts: Vec::new(),
            approval: Vec::new(),
            conditions: Vec::new(),
            limits: Vec::new(),
            arguments: Vec::new(),
            sums: Vec::new(),
            unwraps: rule.is_some_and(|rule| rule.member("unwrap").is_some()),
        };
        if matches!(state, State::Deny | State::Hide) {
            return Some(opened);
        }
        opened.counts = counts(root, &place);
        opened.approval = approval(root, &place);
        if let Some(rule) = rule {
            opened.conditions = conditions(root, rule, &place, &properties);
            opened.limits = limits(root, rule, &place);
        }
        if is_tool {
            let sums = properties.iter();
            let sums = sums.filter(|one| matches!(one.kind, "number" | "integer"));
            opened.sums = sums
                .map(|one| (shown(&one.path), button(&["limit", &one.path])))
                .collect();
        }
        let arguments = properties.iter().enumerate();
        opened.arguments = arguments
            .map(|(index, property)| Argument::of(&index.to_string(), property))
            .chain([Argument::any()])
            .collect();
        Some(opened)
    }

    /// All that can be filled in.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        let limits = self.limits.iter().flat_map(|limit| &limit.fields);
        let conditions = self.conditions.iter();
        let conditions = conditions.flat_map(|condition| &condition.fields);
        self.words
            .iter()
            .chain(&self.counts)
            .chain(&self.approval)
            .chain(conditions)
            .chain(limits)
    }
}

fn words(root: Node<'_>, rule: &[&str], state: State) -> Vec<Field> {
    let at = |name: &'static str| [rule, &[name]].concat();
    let mut words = Vec::new();
    if state == State::Nothing {
        return words;
    }
    if state == State::Deny {
        words.push(Field::text(root, &at("reason"), "Reason, for the caller"));
    }
    words.push(Field::choice(root, &at("mode"), "Mode", &MODES));
    words.push(Field::text(
        root,
        &at("description"),
        "Note, for whoever reads this",
    ));
    words
}

fn counts(root: Node<'_>, rule: &[&str]) -> Vec<Field> {
    let at = |one: &'static str, other: &'static str| [rule, &[one, other]].concat();
    let short = root.at(&[rule, &["rate_limit"]].concat());
    let short = short.and_then(Node::string);
    let short = short.as_deref().and_then(|short| short.split_once('/'));
    let (max, window) = short.unwrap_or(("", "minute"));
    vec![
        Field::number(root, &at("rate_limit", "max"), "Calls at most").or(max),
        Field::window(root, &at("rate_limit", "window"), "In a", window),
        Field::choice(
            root,
            &at("rate_limit", "scope"),
            "Counted for",
            &SCOPES_OF_SESSIONS,
        ),
        Field::number(root, &at("max_concurrent", "max"), "At once at most"),
        Field::choice(root, &at("max_concurrent", "scope"), "Counted for", &SCOPES),
    ]
}

fn approval(root: Node<'_>, rule: &[&str]) -> Vec<Field> {
    let at = |name: &'static str| [rule, &["require_approval", name]].concat();
    let asks = Field::asks(root, rule);
    if !asks.is_chosen() {
        return vec![asks];
    }
    let who = [("operator", "an operator"), ("caller", "the caller")];
    let short = root.at(&[rule, &["action"]].concat()).is_some();
    let reason = match short {
        true => Field::text(root, &[rule, &["reason"]].concat(), "Reason"),
        false => Field::text(root, &at("reason"), "Reason"),
    };
    vec![
        asks,
        reason,
        Field::choice(root, &at("approver"), "From", &who),
        Field::number(root, &at("expires"), "Seconds that it waits (600)"),
    ]
}

fn conditions(
    root: Node<'_>,
    rule: Node<'_>,
    place: &[&str],
    properties: &[Property],
) -> Vec<Condition> {
    let mut found = Vec::new();
    for (section, effect) in [("require", "must"), ("deny_if", "must not")] {
        let checks = rule.member(section).map(Node::elements).unwrap_or_default();
        for (index, check) in checks.iter().enumerate() {
            let above = [section.to_owned(), index.to_string()];
            conditions_of(root, *check, place, &above, effect, properties, &mut found);
        }
    }
    if let Some(approval) = rule.member("require_approval") {
        let above = ["require_approval".to_owned()];
        let effect = "asks if it";
        conditions_of(
            root, approval, place, &above, effect, properties, &mut found,
        );
    }
    found
}

fn conditions_of(
    root: Node<'_>,
    check: Node<'_>,
    rule: &[&str],
    above: &[String],
    effect: &'static str,
    properties: &[Property],
    found: &mut Vec<Condition>,
) {
    let above: Vec<&str> = above.iter().map(String::as_str).collect();
    let all = check.member("conditions").map(Node::elements);
    for (index, condition) in all.unwrap_or_default().iter().enumerate() {
        if found.len() >= MOST {
            return;
        }
        let index_text = index.to_string();
        let own = [rule, &above, &["conditions", &index_text]].concat();
        let at = |name: &'static str| [&*own, &[name]].concat();
        let text = |name| condition.member(name).and_then(Node::string);
        let path = text("path").unwrap_or_default();
        let operator = text("op").unwrap_or_default();
        let property = properties.iter().find(|one| one.path == path);
        let kind = property.map_or("", |one| one.kind);
        let possible = property
            .map(|one| one.choices.as_slice())
            .unwrap_or_default();
        let mut fields = vec![
            Field::text(root, &at("path"), "Argument"),
            Field::operator(root, &at("op"), schema::operators(kind)),
            Field::value(root, &at("value"), operator, kind, possible),
        ];
        if above.first() != Some(&"require_approval") && index == 0 {
            let message = [rule, &above, &["on_deny"]].concat();
            fields.push(Field::text(root, &message, "Answer if refused"));
        }
        let place: Vec<String> = own.iter().map(|step| super::edit::step(step)).collect();
        found.push(Condition {
            effect,
            fields,
            remove: button(&["remove", &format!("/{}", place.join("/"))]),
        });
    }
}

fn limits(root: Node<'_>, rule: Node<'_>, place: &[&str]) -> Vec<Limit> {
    let all = rule
        .member("limits")
        .map(Node::elements)
        .unwrap_or_default();
    let all = all.iter().take(MOST).enumerate();
    all.map(|(index, limit)| {
        let index = index.to_string();
        let own = [place, &["limits", &index]].concat();
        let at = |name: &'static str| [&*own, &[name]].concat();
        let mut fields = vec![
            Field::text(root, &at("counter"), "Name"),
            Field::number(root, &at("max"), "At most"),
            Field::window(root, &at("window"), "In a", ""),
            Field::choice(root, &at("scope"), "Counted for", &SCOPES),
        ];
        if limit.member("increment").is_none() {
            fields.push(Field::text(root, &at("increment_from"), "Sum of argument"));
        }
        fields.push(Field::text(root, &at("on_deny"), "Answer if refused"));
        let steps: Vec<String> = own.iter().map(|step| super::edit::step(step)).collect();
        Limit {
            fields,
            remove: button(&["remove", &format!("/{}", steps.join("/"))]),
        }
    })
    .collect()
}

impl Argument {
    fn of(index: &str, property: &Property) -> Self {
        let operators = match property.choices.is_empty() {
            true => schema::operators(property.kind).iter(),
            false => schema::OF_CHOICES.iter(),
        };
        let choices = property.choices.iter();
        let read = |one: &String| {
            Node::of(one)
                .and_then(Node::string)
                .unwrap_or_else(|| one.clone())
        };
        Self {
            index: index.to_owned(),
            path: shown(&property.path),
            kind: property.kind,
            is_required: property.is_required,
            description: visible(&property.description),
            choices: choices
                .map(|one| (visible(one), shown(&read(one))))
                .collect(),
            operators: operators.map(|one| (*one, schema::words(one))).collect(),
            add: button(&["condition", index, &property.path]),
        }
    }

    /// One of which nothing is known.
    fn any() -> Self {
        let operators = schema::operators("").iter();
        Self {
            index: "other".to_owned(),
            path: String::new(),
            kind: "",
            is_required: false,
            description: String::new(),
            choices: Vec::new(),
            operators: operators.map(|one| (*one, schema::words(one))).collect(),
            add: button(&["condition", "other"]),
        }
    }
}
