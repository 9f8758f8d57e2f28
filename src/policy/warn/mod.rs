//! What can be loaded and is probably not meant.

mod by_risk;
mod checks;
mod limits;
mod names;

use super::compile::Rules;
use super::diagnostic::{Problem, Problems, join};
use super::document::{Mode, OnDrift, Pins, PolicyDocument, Rule};
use super::risk;
use super::section::Kind;

/// Finds it in a document that compiled.
pub(super) fn warnings(document: &PolicyDocument, rules: &Rules) -> Problems {
    let mut problems = Problems::default();
    shadow(document, &mut problems);
    names::warn(document, rules, &mut problems);
    checks::warn(document, &mut problems);
    limits::warn(document, &mut problems);
    asks_about_everything(document, &mut problems);
    pins_only_calls(document, &mut problems);
    by_risk::warn(document, &mut problems);
    problems
}

/// Whoever is asked about every call soon says yes without looking.
fn asks_about_everything(document: &PolicyDocument, problems: &mut Problems) {
    let all_tools = document.all_tools.as_ref();
    let approval = all_tools.and_then(|rule| rule.require_approval.as_ref());
    if approval.is_some_and(|approval| approval.conditions.is_empty()) {
        problems.report(|| {
            let place = "/all_tools/require_approval".to_owned();
            Problem::at_value(place, "this asks about every call of every tool").with_help(
                "give it `conditions`, or write it into the rules of the tools that need it: who \
                 is asked too often looks no more",
            )
        });
    }
}

/// A model acts on what it reads.
fn pins_only_calls(document: &PolicyDocument, problems: &mut Problems) {
    let pins = document.pins.as_ref();
    let is_read = |pins: &Pins| pins.tools.is_some() && pins.on_drift == OnDrift::Deny;
    if pins.is_some_and(is_read) {
        problems.report(|| {
            let message =
                "a tool whose definition has changed is refused, but models still read it";
            Problem::at_value("/pins".to_owned(), message)
                .with_help(r#"write `"on_drift": "hide"` to leave it out of lists as well"#)
        });
    }
}

/// What is in shadow protects nothing.
fn shadow(document: &PolicyDocument, problems: &mut Problems) {
    if document.mode == Mode::Shadow {
        problems.report(|| {
            let message = "the whole policy is in shadow: it is recorded and enforces nothing";
            Problem::at_value("/mode".to_owned(), message).with_help(ENFORCE)
        });
    }
    for (place, rule) in rules(document) {
        if rule.mode == Mode::Shadow {
            problems.report(|| {
                let message = "this rule is in shadow: it is recorded and enforces nothing";
                Problem::at_value(join(&place, "mode"), message).with_help(ENFORCE)
            });
        }
    }
}

/// Every rule, with its place.
fn rules(document: &PolicyDocument) -> impl Iterator<Item = (String, &Rule)> {
    let all_tools = document
        .all_tools
        .iter()
        .map(|rule| ("/all_tools".to_owned(), rule));
    let sections = Kind::ALL.into_iter().flat_map(|kind| {
        let rules = kind.of(document).iter();
        rules.map(move |(key, rule)| (join(kind.place(), key), rule))
    });
    let by_risk = document.risk.iter();
    let by_risk = by_risk.map(|(category, rule)| (risk::place(*category), rule));
    all_tools.chain(sections).chain(by_risk)
}

const ENFORCE: &str = "drop `mode`, or write \"enforce\", once its records show what it should";
