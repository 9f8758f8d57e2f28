//! What can be loaded and is probably not meant.

use super::compile::Rules;
use super::decide::{LONGEST_NAME, is_ordinary_byte};
use super::diagnostic::{Problem, Problems, join, quote};
use super::document::{DefaultAction, PolicyDocument, Rule, RuleAction};
use super::pattern::{Name, Pattern};

/// Finds it in a document that compiled.
pub(super) fn warnings(document: &PolicyDocument, rules: &Rules) -> Problems {
    let mut problems = Problems::default();
    if document.default == DefaultAction::Allow && !rules.tools.like_hidden.is_empty() {
        problems.report(|| {
            let message = "a caller can tell hidden tools from tools that do not exist, because \
                           the server answers calls of those";
            Problem::at_value("/default".to_owned(), message)
                .with_help(r#"under "deny" and "hide" both get the same answer"#)
        });
    }
    for (index, text) in document.hide.iter().enumerate() {
        if let Ok(Name::Pattern(pattern)) = Name::parse(text) {
            if resembles_everything(&pattern) {
                let place = || join("/hide", &index.to_string());
                problems
                    .report(|| Problem::at_value(place(), EVERYTHING).with_help(WHY_EVERYTHING));
            }
        }
    }
    for (key, rule) in &document.tools {
        let place = || join("/tools", key);
        if let Some((message, help)) = without_effect(key, rule, rules) {
            problems.report(|| Problem::at_key(place(), message).with_help(help));
        }
        if rule.reason.is_some() && rule.action != RuleAction::Deny {
            problems.report(|| {
                let message = "this reason is never given: only the action \"deny\" gives one";
                Problem::at_key(join(&place(), "reason"), message)
            });
        }
    }
    problems
}

/// Why an entry does not do what it says, or does much more.
fn without_effect(key: &str, rule: &Rule, rules: &Rules) -> Option<(String, &'static str)> {
    let (tools, hides) = (&rules.tools, rule.action == RuleAction::Hide);
    let pattern = match Name::parse(key).ok()? {
        Name::Exact(name) => {
            let covered = !hides && tools.hide.contains(name.as_bytes());
            return covered.then(|| (NEVER_HIDDEN.to_owned(), WHY_HIDDEN));
        }
        Name::Pattern(pattern) => pattern,
    };
    let folded = pattern.folded();
    let hidden = tools
        .hide
        .covering(&pattern)
        .or(tools.like_hidden.covering(&folded));
    if hidden.is_some() && !hides {
        return Some((NEVER_HIDDEN.to_owned(), WHY_HIDDEN));
    }
    if rule.action == RuleAction::Allow {
        if let Some(entry) = tools.like_restricted.covering(&folded) {
            let message = format!(
                "this pattern never allows anything: {} denies all that it matches",
                quote(entry.place())
            );
            return Some((message, WHY_DENIED));
        }
    } else if resembles_everything(&pattern) {
        return Some((EVERYTHING.to_owned(), WHY_EVERYTHING));
    }
    let free = rules.default == DefaultAction::Allow && !tools.restrict_any();
    let impossible = !free && !could_be_a_name(&pattern);
    impossible.then(|| (NEVER_MATCHES.to_owned(), WHY_NEVER_MATCHES))
}

const NEVER_HIDDEN: &str = "this entry never applies: `hide` covers all that it matches";
const WHY_HIDDEN: &str = "`hide`, and a pattern that hides, go before everything else: make it \
                          narrower, or drop this entry";
const WHY_DENIED: &str = "a pattern that denies goes before every pattern that allows, however \
                          long; a tool that is named exactly is allowed all the same";
const EVERYTHING: &str = "every name looks like this pattern, so it refuses every tool that no \
                          entry names exactly";
const WHY_EVERYTHING: &str = "when looks are compared, white space and invisible characters do \
                              not count, and nothing else stands beside the star";
const NEVER_MATCHES: &str = "this pattern can never allow a tool: a name that it matches is \
                             refused unless an entry names it exactly";
const WHY_NEVER_MATCHES: &str = "tool names have 1 to 256 characters of A-Z, a-z, 0-9, `_`, `.`, \
                                 `-`, `/`, `:` and space; others must be named one by one";

fn resembles_everything(pattern: &Pattern) -> bool {
    pattern.literals() > 0 && pattern.folded().literals() == 0
}

fn could_be_a_name(pattern: &Pattern) -> bool {
    pattern.literals() <= LONGEST_NAME && pattern.runs().flat_map(str::bytes).all(is_ordinary_byte)
}
