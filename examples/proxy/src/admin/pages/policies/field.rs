//! Fields for members of a text, which are written only if they were changed.

use askama::Template;

use super::{
    super::form::Form,
    edit::{self, Node, Stuck, quoted},
    value::{self, meant},
};
use crate::json_text::visible;

/// A field, and the member that it is for.
#[derive(Template)]
#[template(path = "policy_field.html")]
pub(super) struct Field {
    name: String,
    label: String,
    value: String,
    control: Control,
    /// Where the member stands.
    place: Vec<String>,
    kind: Kind,
}

/// How it is filled in.
enum Control {
    Line,
    Number,
    Window,
    Lines,
    Choice(Vec<(String, String)>),
    /// Only in the text.
    Fixed,
}

/// What is written for what was filled in.
enum Kind {
    Text,
    Number,
    Window,
    Choice,
    /// Whether a rule asks for an approval.
    Asks,
    Operator,
    Value {
        operator: String,
        kind: &'static str,
        before: value::Form,
    },
}

/// What leaves the member out.
const NOTHING: &str = "";

impl Field {
    fn new(place: Vec<String>, label: &str, value: String, control: Control, kind: Kind) -> Self {
        let steps: Vec<&str> = place.iter().map(String::as_str).collect();
        // What cannot be seen would not come back as it is.
        let is_seen = value.split('\n').all(|line| visible(line) == line);
        let (value, control) = match control {
            _ if !is_seen => (visible(&value), Control::Fixed),
            // Browsers take the ends of lines out of what is one line.
            Control::Line | Control::Number | Control::Window if value.contains('\n') => {
                (value, Control::Lines)
            }
            _ => (value, control),
        };
        Self {
            name: name_of(&steps),
            label: label.to_owned(),
            value,
            control,
            place,
            kind,
        }
    }

    /// A member that is a string, and need not be there.
    pub(super) fn text(root: Node<'_>, place: &[&str], label: &str) -> Self {
        let found = root
            .at(place)
            .map(|node| node.string().unwrap_or_else(|| node.text().to_owned()));
        let value = found.unwrap_or_default();
        Self::new(owned(place), label, value, Control::Line, Kind::Text)
    }

    /// A member that is a number.
    pub(super) fn number(root: Node<'_>, place: &[&str], label: &str) -> Self {
        let value = root.at(place).map(|node| node.text().to_owned());
        let value = value.unwrap_or_default();
        Self::new(owned(place), label, value, Control::Number, Kind::Number)
    }

    /// A time in which is counted.
    pub(super) fn window(root: Node<'_>, place: &[&str], label: &str, otherwise: &str) -> Self {
        let found = root.at(place);
        let found = found.map(|node| node.string().unwrap_or_else(|| node.text().to_owned()));
        let value = found.unwrap_or_else(|| otherwise.to_owned());
        Self::new(owned(place), label, value, Control::Window, Kind::Window)
    }

    /// A member that is one of these; the first if it is not there.
    pub(super) fn choice(
        root: Node<'_>,
        place: &[&str],
        label: &str,
        all: &[(&str, &str)],
    ) -> Self {
        let found = root
            .at(place)
            .map(|node| node.string().unwrap_or_else(|| node.text().to_owned()));
        let first = all.first().map(|(value, _)| (*value).to_owned());
        let value = found.or(first).unwrap_or_default();
        let choices = choices(&value, all.iter().map(|(value, text)| (*value, *text)));
        Self::new(
            owned(place),
            label,
            value,
            Control::Choice(choices),
            Kind::Choice,
        )
    }

    /// Whether a rule asks for an approval.
    pub(super) fn asks(root: Node<'_>, rule: &[&str]) -> Self {
        let place = [rule, &["require_approval"]].concat();
        let is_short = root
            .at(&[rule, &["action"]].concat())
            .is_some_and(|node| node.text() == "\"require_approval\"");
        let value = match is_short || root.at(&place).is_some() {
            true => "yes",
            false => "",
        };
        let all = [("", "not needed"), ("yes", "needed")];
        let choices = choices(value, all.into_iter());
        let control = Control::Choice(choices);
        Self::new(
            owned(&place),
            "Approval",
            value.to_owned(),
            control,
            Kind::Asks,
        )
    }

    /// What a condition asks.
    pub(super) fn operator(root: Node<'_>, place: &[&str], all: &[&str]) -> Self {
        let value = root.at(place).and_then(Node::string).unwrap_or_default();
        let all = all.iter().map(|one| (*one, super::schema::words(one)));
        let choices = choices(&value, all);
        Self::new(
            owned(place),
            "Test",
            value,
            Control::Choice(choices),
            Kind::Operator,
        )
    }

    /// What a condition compares with.
    pub(super) fn value(
        root: Node<'_>,
        place: &[&str],
        operator: String,
        kind: &'static str,
        possible: &[String],
    ) -> Self {
        let Some(node) = root.at(place) else {
            return Self::new(
                owned(place),
                "Value",
                String::new(),
                Control::Fixed,
                Kind::Text,
            );
        };
        let (before, value) = value::typed(node);
        let is_bool = matches!(node.text(), "true" | "false");
        let one_of = matches!(&*operator, "eq" | "neq") && !possible.is_empty();
        let control = match before {
            value::Form::Lines | value::Form::Numbers => Control::Lines,
            _ if is_bool => {
                let all = [("true", "yes"), ("false", "no")];
                Control::Choice(choices(&value, all.into_iter()))
            }
            value::Form::Text if one_of => {
                let all: Vec<String> = possible
                    .iter()
                    .filter_map(|text| Node::of(text)?.string())
                    .collect();
                let all = all.iter().map(|one| (one.as_str(), one.as_str()));
                Control::Choice(choices(&value, all))
            }
            _ => Control::Line,
        };
        let kind = Kind::Value {
            operator,
            kind,
            before,
        };
        Self::new(owned(place), "Value", value, control, kind)
    }

    /// The same, with this in it if nothing is.
    pub(super) fn or(mut self, value: &str) -> Self {
        if self.value.is_empty() {
            self.value = value.to_owned();
        }
        self
    }

    /// Whether anything but nothing is chosen.
    pub(super) fn is_chosen(&self) -> bool {
        !self.value.is_empty()
    }

    /// What was filled in, if that is something else than what stands in the text.
    fn changed(&self, form: &Form) -> Option<String> {
        if matches!(self.control, Control::Fixed) {
            return None;
        }
        let new = form.find(&self.name)?.replace("\r\n", "\n");
        (new != self.value).then_some(new)
    }

    /// For the template: the lines that it has.
    fn rows(&self) -> usize {
        self.value.lines().count().clamp(1, 8)
    }
}

/// What can be chosen, and what stands there if it is something else.
fn choices<'c>(
    value: &str,
    all: impl Iterator<Item = (&'c str, &'c str)>,
) -> Vec<(String, String)> {
    let mut all: Vec<_> = all
        .map(|(value, text)| (value.to_owned(), visible(text)))
        .collect();
    if !all.iter().any(|(own, _)| own == value) {
        all.push((value.to_owned(), visible(value)));
    }
    all
}

fn owned(place: &[&str]) -> Vec<String> {
    place.iter().map(|step| (*step).to_owned()).collect()
}

/// The text with all that was changed in these fields.
pub(super) fn written<'f>(
    text: &str,
    fields: impl Iterator<Item = &'f Field>,
    form: &Form,
) -> Result<String, Stuck> {
    let mut text = text.to_owned();
    for field in fields {
        if let Some(new) = field.changed(form) {
            text = write(&text, field, &new, form)?;
        }
    }
    Ok(text)
}

fn write(text: &str, field: &Field, new: &str, form: &Form) -> Result<String, Stuck> {
    let place: Vec<&str> = field.place.iter().map(String::as_str).collect();
    let value = match &field.kind {
        Kind::Asks => return asks(text, &place, new),
        Kind::Operator => return operator(text, &place, new),
        Kind::Value {
            operator,
            kind,
            before,
        } => {
            // Another operator may have been chosen together with it.
            let own = Node::of(text).and_then(|root| root.at(&beside(&place, "op"))?.string());
            let operator = own.unwrap_or_else(|| operator.clone());
            Some(meant(&operator, kind, Some(*before), new))
        }
        _ if new.trim() == NOTHING => None,
        Kind::Text | Kind::Choice => Some(quoted(new)),
        Kind::Number => Some(value::number(new)),
        Kind::Window => Some(window(new)),
    };
    if let [.., "rate_limit" | "max_concurrent", last] = place.as_slice() {
        return counted(text, &place, last, value, form);
    }
    if let [rule @ .., "require_approval", last] = place.as_slice() {
        return approved(text, rule, last, value);
    }
    member(text, &place, value)
}

/// Sets a member, or leaves it out.
fn member(text: &str, place: &[&str], value: Option<String>) -> Result<String, Stuck> {
    match value {
        Some(value) => edit::set(text, place, &value),
        None if is_there(text, place) => edit::remove(text, place),
        None => Ok(text.to_owned()),
    }
}

fn is_there(text: &str, place: &[&str]) -> bool {
    Node::of(text).is_some_and(|root| root.at(place).is_some())
}

fn beside<'p>(place: &[&'p str], name: &'p str) -> Vec<&'p str> {
    let above = place.split_last().map(|(_, above)| above);
    [above.unwrap_or_default(), &[name]].concat()
}

fn window(text: &str) -> String {
    match text.trim() {
        named @ ("minute" | "hour" | "day") => quoted(named),
        other => value::number(other),
    }
}

/// Sets a part of what makes no sense without its `max`.
fn counted(
    text: &str,
    place: &[&str],
    part: &str,
    value: Option<String>,
    form: &Form,
) -> Result<String, Stuck> {
    let whole = place
        .split_last()
        .map(|(_, whole)| whole)
        .unwrap_or_default();
    let Some(found) = Node::of(text).and_then(|root| root.at(whole)) else {
        return match (part, value) {
            ("max", Some(max)) if whole.last() == Some(&"rate_limit") => {
                let chosen = form.find(&name_of(&[whole, &["window"]].concat()));
                let window = window(chosen.as_deref().unwrap_or("minute"));
                let new = edit::object(&[("max", max), ("window", window)]);
                edit::set(text, whole, &new)
            }
            ("max", Some(max)) => edit::set(text, whole, &edit::object(&[("max", max)])),
            _ => Ok(text.to_owned()),
        };
    };
    if part == "max" && value.is_none() {
        return edit::remove(text, whole);
    }
    // Written in short: `10/minute`.
    let short = found.string();
    let long = short.as_deref().and_then(|short| short.split_once('/'));
    let text = match long {
        Some((max, time)) => {
            let new = edit::object(&[("max", value::number(max)), ("window", window(time))]);
            edit::set(text, whole, &new)?
        }
        None => text.to_owned(),
    };
    member(&text, place, value)
}

/// What the field of a member is called in a form.
fn name_of(place: &[&str]) -> String {
    let steps = place.iter().map(|step| format!("/{}", edit::step(step)));
    visible(&format!("f{}", steps.collect::<String>()))
}

/// Has a rule ask for an approval, or not.
fn asks(text: &str, place: &[&str], new: &str) -> Result<String, Stuck> {
    if new != NOTHING {
        return edit::set(text, place, "true");
    }
    let action = beside(place, "action");
    let text = member(text, place, None)?;
    let root = Node::of(&text).and_then(|root| root.at(&action));
    match root.is_some_and(|node| node.text() == "\"require_approval\"") {
        true => edit::remove(&text, &action),
        false => Ok(text),
    }
}

/// Sets a part of how an approval is asked for.
fn approved(text: &str, rule: &[&str], part: &str, value: Option<String>) -> Result<String, Stuck> {
    let whole = [rule, &["require_approval"]].concat();
    let place = [&*whole, &[part]].concat();
    let Some(found) = Node::of(text).and_then(|root| root.at(&whole)) else {
        let action = [rule, &["action"]].concat();
        if !is_there(text, &action) {
            return Ok(text.to_owned());
        }
        // Written in short: as the action.
        let text = edit::remove(text, &action)?;
        let reason = [rule, &["reason"]].concat();
        let said = Node::of(&text)
            .and_then(|root| root.at(&reason))
            .map(|node| node.text().to_owned());
        let (text, new) = match said {
            Some(said) => (
                edit::remove(&text, &reason)?,
                edit::object(&[("reason", said)]),
            ),
            None => (text, "{}".to_owned()),
        };
        return member(&edit::set(&text, &whole, &new)?, &place, value);
    };
    let text = match found.text() {
        "true" => edit::set(text, &whole, "{}")?,
        _ => text.to_owned(),
    };
    member(&text, &place, value)
}

/// Sets what a condition asks, and lets its value fit.
fn operator(text: &str, place: &[&str], new: &str) -> Result<String, Stuck> {
    let text = edit::set(text, place, &quoted(new))?;
    let value = beside(place, "value");
    let moved = Node::of(&text)
        .and_then(|root| root.at(&value))
        .and_then(|node| value::moved(node, new));
    match moved {
        Some(moved) => edit::set(&text, &value, &moved),
        None => Ok(text),
    }
}
