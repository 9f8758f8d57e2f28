//! Entries that do not do what they say, or tell what they should not.

use std::sync::Arc;

use super::super::compile::Rules;
use super::super::diagnostic::{Problem, Problems, join, quote};
use super::super::document::{DefaultAction, PolicyDocument, Rule, RuleAction};
use super::super::pattern::{Name, Pattern};
use super::super::risk::{self, Compiled};
use super::super::section::{Entry, Kind, LONGEST_NAME, Section, is_ordinary_byte};
use super::super::uri;

pub(super) fn warn(document: &PolicyDocument, rules: &Rules, problems: &mut Problems) {
    for kind in Kind::ALL {
        let by_risk = rules.risk_of(kind);
        let hides = rules.section(kind).hides_any() || by_risk.is_some_and(Compiled::hides_any);
        if document.default == DefaultAction::Allow && hides {
            problems.report(|| can_be_told(kind));
        }
    }
    for (index, text) in document.hide.iter().enumerate() {
        if let Some(message) = told_by_a_pattern(text, rules.section(Kind::Tools)) {
            let place = join("/hide", &index.to_string());
            problems.report(|| Problem::at_value(place, message).with_help(WHY_TOLD));
        }
        if let Ok(Name::Pattern(pattern)) = Name::parse(text) {
            if resembles_everything(Kind::Tools, &pattern) {
                let place = || join("/hide", &index.to_string());
                problems.report(|| {
                    Problem::at_value(place(), everything(Kind::Tools)).with_help(WHY_EVERYTHING)
                });
            }
        }
    }
    for kind in Kind::ALL {
        for (key, rule) in kind.of(document) {
            let place = || join(kind.place(), key);
            let told = told_by_a_pattern(key, rules.section(kind));
            if let Some(message) = told.filter(|_| rule.action == RuleAction::Hide) {
                problems.report(|| Problem::at_key(place(), message).with_help(WHY_TOLD));
            }
            if let Some((message, help)) = without_effect(key, rule, rules.section(kind), rules) {
                problems.report(|| Problem::at_key(place(), message).with_help(help));
            }
            unsaid_reason(place, rule, problems);
        }
    }
    for (category, rule) in &document.risk {
        unsaid_reason(|| risk::place(*category), rule, problems);
    }
}

fn unsaid_reason(place: impl Fn() -> String, rule: &Rule, problems: &mut Problems) {
    let gives = matches!(rule.action, RuleAction::Deny | RuleAction::RequireApproval);
    if rule.reason.is_some() && !gives {
        problems.report(|| {
            let message = "this reason is never given: only the actions \"deny\" and \
                           \"require_approval\" give one";
            Problem::at_key(join(&place(), "reason"), message).with_help(
                "a check says in `on_deny` why it refuses, and `require_approval` in its own \
                 `reason` why it asks; drop this otherwise",
            )
        });
    }
}

/// A pattern that allows lets calls of names that do not exist go to the server;
/// a hidden name that it matches as well is answered here.
fn told_by_a_pattern(name: &str, section: &Section) -> Option<String> {
    let Ok(Name::Exact(name)) = section.kind.parse(name) else {
        return None;
    };
    // Names like it are hidden too, then.
    if section.hide.patterns(name.as_bytes()).next().is_some() {
        return None;
    }
    let matching = section.entries.patterns(name.as_bytes());
    let entry = matching.max_by_key(|entry| entry.rank())?;
    if entry.rule.action != RuleAction::Allow {
        return None;
    }
    let noun = section.kind.noun();
    Some(format!(
        "a caller can tell this hidden {noun} from {noun}s that do not exist: {} allows names \
         like it, and the server answers calls of those",
        quote(entry.rule.place())
    ))
}

const WHY_TOLD: &str = "name what is allowed one by one, or narrow the pattern";

fn can_be_told(kind: Kind) -> Problem {
    let noun = kind.noun();
    let message = format!(
        "a caller can tell hidden {noun}s from {noun}s that do not exist, because the server \
         answers calls of those"
    );
    Problem::at_value("/default".to_owned(), message)
        .with_help(r#"under "deny" and "hide" both get the same answer"#)
}

/// Why an entry does not do what it says, or does much more.
fn without_effect(
    key: &str,
    rule: &Rule,
    section: &Section,
    rules: &Rules,
) -> Option<(String, &'static str)> {
    let (kind, hides) = (section.kind, rule.action == RuleAction::Hide);
    let pattern = match kind.parse(key).ok()? {
        Name::Exact(name) => {
            let covered = !hides && section.hide.contains(name.as_bytes());
            return covered.then(|| (never_hidden(kind), WHY_HIDDEN));
        }
        Name::Pattern(pattern) => pattern,
    };
    let folded = kind.folded_pattern(&pattern);
    let hidden = section
        .hide
        .covering(&pattern)
        .or(section.like_hidden.covering(&folded));
    if hidden.is_some() && !hides {
        return Some((never_hidden(kind), WHY_HIDDEN));
    }
    if matches!(rule.action, RuleAction::Allow | RuleAction::RequireApproval) {
        let denies = |entry: &Arc<Entry>| entry.rule.action == RuleAction::Deny;
        if let Some(entry) = section.like_restricted.covering_if(&folded, denies) {
            let message = format!(
                "this pattern never allows anything: {} denies all that it matches",
                quote(entry.rule.place())
            );
            return Some((message, why_denied(kind)));
        }
    } else if resembles_everything(kind, &pattern) {
        return Some((everything(kind), WHY_EVERYTHING));
    }
    if kind == Kind::Resources {
        return uri::is_hopeless(&pattern).then(|| (NO_URI.to_owned(), WHY_NO_URI));
    }
    let impossible = !rules.is_free(section) && !could_be_a_name(&pattern);
    impossible.then(|| (never_matches(kind), why_never_matches(kind)))
}

fn never_hidden(kind: Kind) -> String {
    let what = match kind {
        Kind::Tools => "`hide`",
        Kind::Resources | Kind::Prompts => "a pattern that hides",
    };
    format!("this entry never applies: {what} covers all that it matches")
}

const WHY_HIDDEN: &str = "`hide`, and a pattern that hides, go before everything else: make it \
                          narrower, or drop this entry";

fn why_denied(kind: Kind) -> &'static str {
    match kind {
        Kind::Tools => {
            "a pattern that denies goes before every pattern that allows, however long; a tool \
             that is named exactly is allowed all the same"
        }
        Kind::Resources => {
            "a pattern that denies goes before every pattern that allows, however long; a \
             resource that is named exactly is allowed all the same"
        }
        Kind::Prompts => {
            "a pattern that denies goes before every pattern that allows, however long; a prompt \
             that is named exactly is allowed all the same"
        }
    }
}

fn everything(kind: Kind) -> String {
    let noun = kind.noun();
    format!(
        "every name looks like this pattern, so it refuses every {noun} that no entry names exactly"
    )
}

const WHY_EVERYTHING: &str = "when looks are compared, white space and invisible characters do \
                              not count, and nothing else stands beside the star";

fn never_matches(kind: Kind) -> String {
    format!(
        "this pattern can never allow a {}: a name that it matches is refused unless an entry \
         names it exactly",
        kind.noun()
    )
}

fn why_never_matches(kind: Kind) -> &'static str {
    match kind {
        Kind::Tools | Kind::Resources => {
            "tool names have 1 to 256 characters of A-Z, a-z, 0-9, `_`, `.`, `-`, `/`, `:` and \
             space; others must be named one by one"
        }
        Kind::Prompts => {
            "prompt names have 1 to 256 characters of A-Z, a-z, 0-9, `_`, `.`, `-`, `/`, `:` and \
             space; others must be named one by one"
        }
    }
}

const NO_URI: &str = "this pattern can never match: it stands for URIs that can be read in more \
                      than one way, and only an exact entry can name those";
const WHY_NO_URI: &str = "patterns match URIs with a scheme, without fragments, backslashes, \
                          control characters, escapes of letters, digits and `-._~/\\%`, and `.`, \
                          `..` or empty segments; `file` URIs begin with `file:///`";

fn resembles_everything(kind: Kind, pattern: &Pattern) -> bool {
    pattern.literals() > 0 && kind.folded_pattern(pattern).literals() == 0
}

fn could_be_a_name(pattern: &Pattern) -> bool {
    pattern.literals() <= LONGEST_NAME && pattern.runs().flat_map(str::bytes).all(is_ordinary_byte)
}
