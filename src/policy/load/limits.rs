//! What a rule says of how much may be used up.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::super::condition::{InMillionths, Number, UNREADABLE};
use super::super::diagnostic::{Place, Problem, printable, quote};
use super::super::document::{Limit, LimitWindow, MaxConcurrent, RateLimit, WindowReset};
use super::super::quota::{Amount, LimitScope, OnStoreError};
use super::reader::{Choice, Elsewhere, Fields, Reader, brace, nearest};
use crate::json::tree::{Member, Node, Value};

/// The most limits that one rule has: every call is charged for all of them.
const MOST_LIMITS: usize = 32;

/// The most budgets of sessions that a caller has.
const MOST_SESSIONS: u32 = 1_000;

/// The most calls that may be under way at once.
const MOST_CONCURRENT: u32 = 10_000;

const LIMIT: Fields = Fields {
    known: &[
        "counter",
        "window",
        "max",
        "scope",
        "increment",
        "increment_from",
        "reset",
        "sessions",
        "on_store_error",
        "on_deny",
    ],
    other_names: &[
        ("name", "counter"),
        ("id", "counter"),
        ("key", "counter"),
        ("limit", "max"),
        ("quota", "max"),
        ("period", "window"),
        ("interval", "window"),
        ("seconds", "window"),
        ("per", "scope"),
        ("cost", "increment"),
        ("weight", "increment"),
        ("amount", "increment_from"),
        ("path", "increment_from"),
        ("reason", "on_deny"),
        ("message", "on_deny"),
    ],
    elsewhere: &[],
};

const RATE_LIMIT: Fields = Fields {
    known: &["max", "window", "scope"],
    other_names: &[
        ("limit", "max"),
        ("requests", "max"),
        ("calls", "max"),
        ("period", "window"),
        ("interval", "window"),
        ("seconds", "window"),
        ("per", "scope"),
    ],
    elsewhere: &[
        only_in_limits("counter", "a `rate_limit` has no counter: it is `rate`"),
        only_in_limits("increment", "a `rate_limit` counts calls"),
        only_in_limits("increment_from", "a `rate_limit` counts calls"),
        only_in_limits("reset", "a `rate_limit` is always rolling"),
        only_in_limits("sessions", "a `rate_limit` has no `sessions`"),
        only_in_limits("on_store_error", "a `rate_limit` has no `on_store_error`"),
        only_in_limits("on_deny", "a `rate_limit` has no text of its own"),
    ],
};

const fn only_in_limits(field: &'static str, message: &'static str) -> Elsewhere {
    Elsewhere {
        field,
        message,
        help: r#"write it out as one of `limits`: `{ "counter": "rate", "window": …, "max": … }`"#,
    }
}

const MAX_CONCURRENT: Fields = Fields {
    known: &["max", "scope"],
    other_names: &[("limit", "max"), ("calls", "max"), ("per", "scope")],
    elsewhere: &[Elsewhere {
        field: "window",
        message: "`max_concurrent` has no window: a call counts while it is under way",
        help: "drop it, or write a limit into `limits`",
    }],
};

const SCOPE: Choice<LimitScope> = Choice {
    known: &[
        ("session", LimitScope::Session),
        ("caller", LimitScope::Caller),
        ("server", LimitScope::Server),
        ("grant", LimitScope::Caller),
    ],
    expected: r#""session", "caller" or "server""#,
};

const RESET: Choice<WindowReset> = Choice {
    known: &[
        ("rolling", WindowReset::Rolling),
        ("calendar", WindowReset::Calendar),
    ],
    expected: r#""rolling" or "calendar""#,
};

const ON_STORE_ERROR: Choice<OnStoreError> = Choice {
    known: &[("deny", OnStoreError::Deny), ("allow", OnStoreError::Allow)],
    expected: r#""deny" or "allow""#,
};

const WINDOW: &str = r#""minute", "hour", "day" or a number of seconds from 1 to 2678400"#;

/// Windows that have no word, and what to write instead.
const OTHER_WINDOWS: &[(&str, &str)] = &[
    ("second", "1"),
    ("week", "604800"),
    ("month", "2678400, which is 31 days"),
];

const AMOUNT: &str = "a number from 0 to 9000000000000 with at most 6 decimals";

const RATE_FORMS: &str = r#""10/minute" or an object"#;

const HELP_WINDOW: &str = r#"write in which time, such as `"window": "minute"`"#;
const HELP_MAX: &str = r#"write the most that is admitted, such as `"max": 10`"#;

impl Reader<'_> {
    /// One with a mistake in it keeps its place, so that the others keep theirs.
    pub(super) fn limits(&mut self, node: &Node, place: &Place<'_>) -> Vec<Limit> {
        let items = self.list(node, place, "a list of limits");
        let items = items.unwrap_or_default();
        if items.len() > MOST_LIMITS {
            self.problems.report(|| {
                let message = format!(
                    "this rule has {} limits, at most {MOST_LIMITS} are read",
                    items.len()
                );
                Problem::in_text(brace(node), place, message)
                    .with_help("every call is charged for all of them: keep those that matter")
            });
        }
        let mut taken = HashSet::new();
        let items = items.iter().take(MOST_LIMITS).enumerate();
        items
            .map(|(index, item)| self.limit(item, &Place::Item(place, index), &mut taken))
            .collect()
    }

    fn limit<'n>(
        &mut self,
        node: &'n Node,
        place: &Place<'_>,
        taken: &mut HashSet<&'n str>,
    ) -> Limit {
        let (mut counter, mut window, mut max) = (None, None, None);
        let mut limit = Limit::new("", LimitWindow::DAY, Amount::ZERO);
        let members = self.object(node, place).unwrap_or_default();
        for member in members {
            let at = Place::Member(place, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "counter" => counter = self.counter(node, &at, taken),
                "window" => window = self.window(node, &at),
                "max" => max = self.amount(node, &at),
                "scope" => self.set(&SCOPE, node, &at, &mut limit.scope),
                "increment" => limit.increment = self.amount(node, &at),
                "increment_from" => limit.increment_from = self.text(node, &at),
                "reset" => self.set(&RESET, node, &at, &mut limit.reset),
                "sessions" => limit.sessions = self.sessions(node, &at),
                "on_store_error" => {
                    self.set(&ON_STORE_ERROR, node, &at, &mut limit.on_store_error);
                }
                "on_deny" => limit.on_deny = self.text(node, &at),
                _ => self.no_field(&LIMIT, member, place),
            }
        }
        for (field, help) in [
            ("counter", r#"give it a name, such as `"counter": "calls"`"#),
            ("window", HELP_WINDOW),
            ("max", HELP_MAX),
        ] {
            self.demand(&LIMIT, node, place, field, help);
        }
        self.contradictions(members, &limit, window, place);
        limit.counter = counter.unwrap_or_default();
        limit.window = window.unwrap_or(LimitWindow::DAY);
        limit.max = max.unwrap_or_default();
        limit
    }

    /// Fields of a limit that make no sense together.
    fn contradictions(
        &mut self,
        members: &[Member],
        limit: &Limit,
        window: Option<LimitWindow>,
        place: &Place<'_>,
    ) {
        let find = |field: &str| members.iter().find(|member| member.key == field);
        if let (Some(_), Some(member)) = (find("increment_from"), find("increment")) {
            self.problems.report(|| {
                let place = Place::Member(place, "increment");
                let message = "a limit counts an `increment` or an `increment_from`, not both";
                Problem::in_text(member.key_span.clone(), &place, message).with_help("drop one")
            });
        }
        let misread = find("scope").is_some_and(|member| !is_scope(&member.value));
        let strange = limit.scope != LimitScope::Session && !misread;
        if let Some(member) = find("sessions").filter(|_| strange) {
            self.problems.report(|| {
                let place = Place::Member(place, "sessions");
                let message = r#"`sessions` stands only beside the scope "session""#;
                Problem::in_text(member.key_span.clone(), &place, message)
                    .with_help(r#"drop it, or write `"scope": "session"`"#)
            });
        }
        let is_named =
            |window: LimitWindow| LimitWindow::NAMED.iter().any(|(_, named)| *named == window);
        let odd =
            window.is_some_and(|window| !is_named(window)) && limit.reset == WindowReset::Calendar;
        if let Some(member) = find("window").filter(|_| odd) {
            self.problems.report(|| {
                let place = Place::Member(place, "window");
                let message = "the calendar has no such window";
                Problem::in_text(member.value.span.clone(), &place, message)
                    .with_help(r#"write "minute", "hour" or "day", or drop `"reset": "calendar"`"#)
            });
        }
    }

    fn counter<'n>(
        &mut self,
        node: &'n Node,
        place: &Place<'_>,
        taken: &mut HashSet<&'n str>,
    ) -> Option<String> {
        let Value::String(name) = &node.value else {
            self.wrong(node, place, "a string");
            return None;
        };
        let problem = if name.is_empty() {
            Some(("a counter has a name".to_owned(), "write what it counts"))
        } else if taken.insert(name) {
            None
        } else {
            let message = format!("another limit of this rule has the counter {}", quote(name));
            Some((message, "each is counted by itself: give it its own name"))
        };
        if let Some((message, help)) = problem {
            self.problems
                .report(|| Problem::in_text(node.span.clone(), place, message).with_help(help));
        }
        Some(name.clone())
    }

    /// A limit of this rule may not have the counter of its `rate_limit`.
    pub(super) fn no_second_rate(&mut self, members: &[Member], place: &Place<'_>) {
        let find = |field: &str| members.iter().find(|member| member.key == field);
        let (Some(_), Some(limits)) = (find("rate_limit"), find("limits")) else {
            return;
        };
        let Value::Array(limits) = &limits.value.value else {
            return;
        };
        let list = Place::Member(place, "limits");
        for (index, limit) in limits.iter().take(MOST_LIMITS).enumerate() {
            let Value::Object(members) = &limit.value else {
                continue;
            };
            let counter = members.iter().find(|member| member.key == "counter");
            let is_rate = |member: &&Member| matches!(&member.value.value, Value::String(name) if name == RateLimit::COUNTER);
            if let Some(member) = counter.filter(is_rate) {
                self.problems.report(|| {
                    let item = Place::Item(&list, index);
                    let place = Place::Member(&item, "counter");
                    let message = "`rate` is the counter of the `rate_limit` of this rule";
                    Problem::in_text(member.value.span.clone(), &place, message)
                        .with_help("give this one another name")
                });
            }
        }
    }

    fn window(&mut self, node: &Node, place: &Place<'_>) -> Option<LimitWindow> {
        match &node.value {
            Value::String(word) => {
                let named = named_window(word);
                if named.is_none() {
                    self.problems.report(|| {
                        let message = format!("found \"{}\", expected {WINDOW}", printable(word));
                        let problem = Problem::in_text(node.span.clone(), place, message);
                        match other_window(word) {
                            Some(help) => problem.with_help(help),
                            None => problem,
                        }
                    });
                }
                named
            }
            Value::Number(_) => {
                let seconds = LimitWindow::SHORTEST.as_secs()..=LimitWindow::LONGEST.as_secs();
                self.whole(node, place, seconds, WINDOW)
                    .map(LimitWindow::from_secs)
            }
            _ => {
                self.wrong(node, place, WINDOW);
                None
            }
        }
    }

    fn amount(&mut self, node: &Node, place: &Place<'_>) -> Option<Amount> {
        let Value::Number(token) = &node.value else {
            self.wrong(node, place, AMOUNT);
            return None;
        };
        let (message, help) = match Number::read(token).map(Number::in_millionths) {
            Some(InMillionths::Exactly(millionths)) if millionths <= Amount::MAX.millionths() => {
                return Some(Amount::from_millionths(millionths));
            }
            Some(InMillionths::RoundedUp(_)) => (
                "this number has more than 6 decimals",
                "amounts are counted in whole millionths: write fewer decimals",
            ),
            Some(InMillionths::Negative) => ("this number is less than 0", "write 0 or more"),
            Some(InMillionths::Exactly(_) | InMillionths::TooMany) => (
                "this number is more than 9000000000000",
                "no more can be counted: count in a larger unit",
            ),
            None => (
                UNREADABLE,
                "use an integer up to 9000000000000, or fewer digits",
            ),
        };
        self.problems
            .report(|| Problem::in_text(node.span.clone(), place, message).with_help(help));
        None
    }

    fn sessions(&mut self, node: &Node, place: &Place<'_>) -> Option<u32> {
        let expected = "a whole number from 1 to 1000";
        self.whole(node, place, 1..=MOST_SESSIONS, expected)
    }

    /// A whole number in a range, however it is spelt.
    pub(super) fn whole(
        &mut self,
        node: &Node,
        place: &Place<'_>,
        range: RangeInclusive<u32>,
        expected: &str,
    ) -> Option<u32> {
        let number = whole_in(node).filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(node, place, expected);
        }
        number
    }

    pub(super) fn rate_limit(&mut self, node: &Node, place: &Place<'_>) -> Option<RateLimit> {
        match &node.value {
            Value::String(text) => self.short_rate(text, node, place),
            Value::Object(members) => {
                let (mut max, mut window, mut scope) = (None, None, LimitScope::Session);
                for member in members {
                    let at = Place::Member(place, &member.key);
                    match member.key.as_str() {
                        "max" => max = self.amount(&member.value, &at),
                        "window" => window = self.window(&member.value, &at),
                        "scope" => self.set(&SCOPE, &member.value, &at, &mut scope),
                        _ => self.no_field(&RATE_LIMIT, member, place),
                    }
                }
                self.demand(&RATE_LIMIT, node, place, "max", HELP_MAX);
                self.demand(&RATE_LIMIT, node, place, "window", HELP_WINDOW);
                let mut rate = RateLimit::new(max?, window?);
                rate.scope = scope;
                Some(rate)
            }
            _ => {
                self.wrong(node, place, RATE_FORMS);
                None
            }
        }
    }

    /// `10/minute`.
    fn short_rate(&mut self, text: &str, node: &Node, place: &Place<'_>) -> Option<RateLimit> {
        let (count, unit) = text.split_once('/').unwrap_or((text, ""));
        let is_count = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let max = count.parse::<u32>().ok().filter(|_| is_count);
        let window = named_window(unit);
        if let (Some(max), Some(window)) = (max, window) {
            return Some(RateLimit::new(Amount::from(max), window));
        }
        self.problems.report(|| {
            let found = printable(text);
            let message = format!("found \"{found}\", expected a text such as \"10/minute\"");
            let near = nearest(unit, LimitWindow::NAMED.iter().map(|(name, _)| *name));
            let help = match (max, near) {
                (Some(max), Some(near)) => format!("did you mean \"{max}/{near}\"?"),
                _ => "a whole number, a slash, and minute, hour or day; for all else write \
                     `{ \"max\": 10, \"window\": 30 }`, where the window is in seconds"
                    .to_owned(),
            };
            Problem::in_text(node.span.clone(), place, message).with_help(help)
        });
        None
    }

    pub(super) fn max_concurrent(
        &mut self,
        node: &Node,
        place: &Place<'_>,
    ) -> Option<MaxConcurrent> {
        let Value::Object(members) = &node.value else {
            self.wrong_but(node, place, "an object", r#"write `{ "max": 3 }`"#);
            return None;
        };
        let (mut max, mut scope) = (None, LimitScope::default());
        for member in members {
            let at = Place::Member(place, &member.key);
            match member.key.as_str() {
                "max" => max = self.concurrent(&member.value, &at),
                "scope" => self.set(&SCOPE, &member.value, &at, &mut scope),
                _ => self.no_field(&MAX_CONCURRENT, member, place),
            }
        }
        let help = r#"write how many calls may be under way, such as `"max": 3`"#;
        self.demand(&MAX_CONCURRENT, node, place, "max", help);
        let mut concurrent = MaxConcurrent::new(max?);
        concurrent.scope = scope;
        Some(concurrent)
    }

    fn concurrent(&mut self, node: &Node, place: &Place<'_>) -> Option<u32> {
        const EXPECTED: &str = "a whole number from 1 to 10000";
        if whole_in(node) == Some(0) {
            let help = r#"to refuse every call write `"action": "deny"`"#;
            self.wrong_but(node, place, EXPECTED, help);
            return None;
        }
        self.whole(node, place, 1..=MOST_CONCURRENT, EXPECTED)
    }
}

fn is_scope(node: &Node) -> bool {
    let mut known = SCOPE.known.iter();
    matches!(&node.value, Value::String(word) if known.any(|(known, _)| known == word))
}

fn whole_in(node: &Node) -> Option<u32> {
    match &node.value {
        Value::Number(token) => u32::try_from(Number::read(token)?.to_integer()?).ok(),
        _ => None,
    }
}

fn named_window(word: &str) -> Option<LimitWindow> {
    let named = LimitWindow::NAMED.iter().find(|(name, _)| *name == word);
    named.map(|(_, window)| *window)
}

fn other_window(word: &str) -> Option<String> {
    let one = word.strip_suffix('s').unwrap_or(word);
    if let Some((_, seconds)) = OTHER_WINDOWS.iter().find(|(other, _)| *other == one) {
        return Some(format!("write {seconds}"));
    }
    let near = nearest(word, LimitWindow::NAMED.iter().map(|(name, _)| *name))?;
    Some(format!("did you mean \"{near}\"?"))
}
