//! The limits of a rule: compiled, and what a call uses up of them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use smallvec::SmallVec;

use super::condition::{
    Found, InMillionths, MOST_FOUND, Number, Path, Root, RootSet, Roots, Step, find_past,
};
use super::diagnostic::{Problem, Problems, join, printable};
use super::document::{
    Limit, LimitWindow, MaxConcurrent, Mode, PolicyDocument, RateLimit, Rule, WindowReset,
};
use super::quota::{Amount, CalendarUnit, Period, Quota, Spending};
use crate::json::Kind;

/// The most quotas that one call, or one batch of them, is charged for; and as many
/// again that are only tried.
pub(crate) const MOST_CHARGES: usize = 256;

/// What `limits`, `rate_limit` and `max_concurrent` of one rule say.
#[derive(Debug)]
pub(super) struct Limits {
    list: Vec<Compiled>,
    /// Each path once, however many limits count by it.
    sources: Vec<Source>,
    looks_at: RootSet,
}

#[derive(Debug)]
struct Compiled {
    quota: Arc<Quota>,
    increment: Increment,
}

#[derive(Clone, Copy, Debug)]
enum Increment {
    Constant(Amount),
    /// What is found by the source at this place.
    From(usize),
}

/// Why a use cannot be counted by a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uncounted<'r> {
    /// The place of the limit.
    pub(super) place: &'r str,
    pub(super) reason: &'r str,
}

impl Limits {
    /// `None` for a rule without limits. What does not make sense is reported.
    pub(super) fn compile(
        rule: &Rule,
        place: &str,
        document: &PolicyDocument,
        roots: &'static [Root],
        problems: &mut Problems,
    ) -> Option<Self> {
        if rule.limits.is_empty() && rule.rate_limit.is_none() && rule.max_concurrent.is_none() {
            return None;
        }
        let mut compiler = Compiler {
            policy: document.name.as_deref().unwrap_or_default(),
            is_tried: document.mode == Mode::Shadow || rule.mode == Mode::Shadow,
            limits: join(place, "limits"),
            roots,
            problems,
            list: Vec::new(),
            sources: Vec::new(),
        };
        for (index, limit) in rule.limits.iter().enumerate() {
            compiler.limit(index, limit);
        }
        if let Some(rate) = &rule.rate_limit {
            compiler.rate(rate);
        }
        if let Some(concurrent) = &rule.max_concurrent {
            compiler.concurrent(concurrent, join(place, "max_concurrent"));
        }
        let roots = compiler.sources.iter().map(|source| source.path.root());
        Some(Self {
            looks_at: RootSet::of(roots),
            list: compiler.list,
            sources: compiler.sources,
        })
    }

    /// Where there is what they count by.
    pub(super) fn look_at(&self) -> RootSet {
        self.looks_at
    }

    /// Adds what a use counts; nothing is known of one without roots.
    pub(super) fn count<'r>(
        &'r self,
        roots: Option<&Roots<'_>>,
        spent: &mut Spent,
    ) -> Result<(), Uncounted<'r>> {
        let amounts = self.sources.iter().map(|source| source.amount(roots));
        let amounts: SmallVec<[Result<Amount, Why>; 4]> = amounts.collect();
        for limit in &self.list {
            let refused = |reason| Uncounted {
                place: limit.quota.place(),
                reason,
            };
            let amount = match limit.increment {
                Increment::Constant(amount) => amount,
                Increment::From(at) => match amounts.get(at) {
                    Some(Ok(amount)) => *amount,
                    Some(Err(why)) => {
                        let source = self.sources.get(at);
                        let reason = source.map(|source| source.reason(*why));
                        return Err(refused(reason.unwrap_or(TOO_MUCH)));
                    }
                    None => return Err(refused(TOO_MUCH)),
                },
            };
            spent.add(&limit.quota, amount).map_err(refused)?;
        }
        Ok(())
    }
}

struct Compiler<'p> {
    policy: &'p str,
    is_tried: bool,
    /// `/tools/NAME/limits`.
    limits: String,
    roots: &'static [Root],
    problems: &'p mut Problems,
    list: Vec<Compiled>,
    sources: Vec<Source>,
}

impl Compiler<'_> {
    fn limit(&mut self, index: usize, limit: &Limit) {
        let increment = match &limit.increment_from {
            Some(path) => {
                let place = join(&join(&self.limits, &index.to_string()), "increment_from");
                match self.source(path, &place) {
                    Some(at) => Increment::From(at),
                    None => return,
                }
            }
            None => Increment::Constant(limit.increment.unwrap_or(Amount::ONE)),
        };
        let place = join(&self.limits, &limit.counter);
        let period = period(limit.window, limit.reset);
        let mut quota = Quota::new(self.policy, place, period, limit.max, limit.scope)
            .with_on_store_error(limit.on_store_error)
            .with_on_deny(limit.on_deny.as_deref());
        if let Some(sessions) = limit.sessions {
            quota = quota.with_sessions(sessions);
        }
        self.push(quota, increment);
    }

    fn rate(&mut self, rate: &RateLimit) {
        let place = join(&self.limits, RateLimit::COUNTER);
        let period = period(rate.window, WindowReset::Rolling);
        let quota = Quota::new(self.policy, place, period, rate.max, rate.scope);
        self.push(quota, Increment::Constant(Amount::ONE));
    }

    fn concurrent(&mut self, concurrent: &MaxConcurrent, place: String) {
        let max = Amount::from(concurrent.max);
        let quota = Quota::new(
            self.policy,
            place,
            Period::Concurrent,
            max,
            concurrent.scope,
        );
        self.push(quota, Increment::Constant(Amount::ONE));
    }

    fn push(&mut self, quota: Quota, increment: Increment) {
        let quota = Arc::new(quota.with_tried(self.is_tried));
        self.list.push(Compiled { quota, increment });
    }

    /// Where the source of this path is.
    fn source(&mut self, text: &str, place: &str) -> Option<usize> {
        let path = match Path::parse(text) {
            Ok(path) => self.allowed(path),
            Err(error) => Err((error.message, error.help.to_owned())),
        };
        match path {
            Ok(path) => {
                let known = self.sources.iter().position(|source| source.path == path);
                Some(known.unwrap_or_else(|| {
                    self.sources.push(Source::new(path));
                    self.sources.len() - 1
                }))
            }
            Err((message, help)) => {
                self.problems
                    .report(|| Problem::at_value(place.to_owned(), message).with_help(help));
                None
            }
        }
    }

    /// The path, if a number can be there that counts; or what is wrong, and what
    /// helps.
    fn allowed(&self, path: Path) -> Result<Path, (String, String)> {
        let root = path.root();
        if !self.roots.contains(&root) {
            let message = format!("there is no `{}` here", root.name());
            return Err((message, HELP_NUMBER.to_owned()));
        }
        if root == Root::Client {
            let message = "what a client says of itself cannot be counted by";
            let help = "any client can say it: take the number from `args` or `caller.claims`";
            return Err((message.to_owned(), help.to_owned()));
        }
        let is_number = match (root, path.steps()) {
            (Root::Resource | Root::Tool, _) | (_, []) => false,
            (Root::Caller, [Step::Field(name)]) => !matches!(&**name, "id" | "claims"),
            _ => true,
        };
        if !is_number {
            let message = "there is never a number at this path";
            return Err((message.to_owned(), HELP_NUMBER.to_owned()));
        }
        Ok(path)
    }
}

const HELP_NUMBER: &str = "a limit counts by a number in the arguments, such as `args.amount`, or in `caller.claims`; \
                           to count calls, leave this out";

fn period(window: LimitWindow, reset: WindowReset) -> Period {
    let unit = match window {
        LimitWindow::MINUTE => Some(CalendarUnit::Minute),
        LimitWindow::HOUR => Some(CalendarUnit::Hour),
        LimitWindow::DAY => Some(CalendarUnit::Day),
        _ => None,
    };
    match unit.filter(|_| reset == WindowReset::Calendar) {
        Some(unit) => Period::Calendar(unit),
        None => Period::Rolling(Duration::from_secs(u64::from(window.as_secs()))),
    }
}

/// Where it stands how much a use counts.
#[derive(Debug)]
struct Source {
    path: Path,
    /// Made for the first use that cannot be counted.
    reasons: OnceLock<Box<Reasons>>,
}

/// Why a number does not tell how much a use counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Nothing is known of the use.
    Unknown,
    Missing,
    /// It is no number, one that readers round differently, or another that could
    /// be taken for it stands there.
    Unreadable,
    Negative,
    TooMuch,
    TooMany,
}

/// In words, for the caller.
#[derive(Debug)]
struct Reasons {
    missing: String,
    unreadable: String,
    negative: String,
    too_much: String,
    too_many: String,
}

const UNKNOWN: &str = "How much this uses up depends on arguments that are not there.";
const TOO_MUCH: &str = "This would use up more at once than can be counted.";
const TOO_MANY: &str =
    "The calls inside this one use up more different limits than can be counted at once.";

impl Source {
    fn new(path: Path) -> Self {
        Self {
            path,
            reasons: OnceLock::new(),
        }
    }

    /// Each number is rounded up by itself, so that a sum is never too small.
    fn amount(&self, roots: Option<&Roots<'_>>) -> Result<Amount, Why> {
        let roots = roots.ok_or(Why::Unknown)?;
        let root = self.path.root();
        let text = roots.text(root).ok_or(Why::Unreadable)?;
        let found = find_past(&self.path, text, roots.long_values(root));
        if found.len() > MOST_FOUND {
            return Err(Why::TooMany);
        }
        found.iter().try_fold(Amount::ZERO, |sum, found| {
            sum.checked_add(amount_in(found, text)?).ok_or(Why::TooMuch)
        })
    }

    fn reason(&self, why: Why) -> &str {
        let reasons = self.reasons.get_or_init(|| {
            let path = printable(&self.path.to_string());
            Box::new(Reasons {
                missing: format!("{path} is missing, and tells how much this uses up."),
                unreadable: format!(
                    "{path} tells how much this uses up: it has to be a JSON number that every \
                     reader takes for the same value, and no other member may look like it."
                ),
                negative: format!(
                    "{path} tells how much this uses up, so it cannot be less than 0."
                ),
                too_much: format!("{path} tells how much this uses up, and is too much to count."),
                too_many: format!(
                    "{path} tells how much this uses up, and has more than {MOST_FOUND} elements."
                ),
            })
        });
        match why {
            Why::Unknown => UNKNOWN,
            Why::Missing => &reasons.missing,
            Why::Unreadable => &reasons.unreadable,
            Why::Negative => &reasons.negative,
            Why::TooMuch => &reasons.too_much,
            Why::TooMany => &reasons.too_many,
        }
    }
}

fn amount_in(found: &Found, text: &[u8]) -> Result<Amount, Why> {
    let token = match found {
        Found::Value {
            span,
            kind: Kind::Number,
        } => text.get(span.clone()),
        Found::Value { .. } | Found::Undecidable => None,
        Found::Missing => return Err(Why::Missing),
    };
    let number = token.and_then(Number::of_bytes).ok_or(Why::Unreadable)?;
    match number.in_millionths() {
        InMillionths::Negative => Err(Why::Negative),
        InMillionths::Exactly(millionths) | InMillionths::RoundedUp(millionths)
            if millionths <= Amount::MAX.millionths() =>
        {
            Ok(Amount::from_millionths(millionths))
        }
        _ => Err(Why::TooMuch),
    }
}

/// What a call uses up, of each quota once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spent(SmallVec<[Spending; 4]>);

impl Default for Spent {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl Spent {
    pub(super) const NOTHING: Self = Self(SmallVec::new_const());

    pub(super) fn as_slice(&self) -> &[Spending] {
        &self.0
    }

    /// What is nothing need not be asked for. Gives a reason if it is too much.
    fn add(&mut self, quota: &Arc<Quota>, amount: Amount) -> Result<(), &'static str> {
        if amount == Amount::ZERO {
            return Ok(());
        }
        let mut all = self.0.iter_mut();
        if let Some(spending) = all.find(|spending| spending.quota.id() == quota.id()) {
            spending.amount = spending.amount.checked_add(amount).ok_or(TOO_MUCH)?;
            return Ok(());
        }
        if self.0.len() >= MOST_CHARGES {
            return Err(TOO_MANY);
        }
        self.0.push(Spending {
            quota: Arc::clone(quota),
            amount,
            enforced: true,
        });
        Ok(())
    }

    /// What is enforced, with what would be used up if nothing were in shadow. Of
    /// a quota that is in both it is the amount that is enforced.
    pub(super) fn beside(self, written: Self) -> Self {
        let mut both = written;
        for spending in &mut both.0 {
            spending.enforced = false;
        }
        for enforced in self.0 {
            let mut all = both.0.iter_mut();
            match all.find(|spending| spending.quota.id() == enforced.quota.id()) {
                Some(spending) => *spending = enforced,
                None => both.0.push(enforced),
            }
        }
        for tried in both.0.iter_mut().filter(|spending| !spending.enforced) {
            tried.quota = Arc::clone(&tried.quota).beside_enforced();
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Policy};

    /// Place, amount, and whether it is enforced.
    fn charges(policy: &str, arguments: &str) -> Vec<(String, String, bool)> {
        let policy: Policy = policy.parse().unwrap();
        let call = Action::call_tool("t").with_arguments(arguments).unwrap();
        let decision = policy.decide(&call);
        let spending = decision.spending().iter();
        spending
            .map(|spending| {
                let place = spending.quota.place().to_owned();
                (place, spending.amount.to_string(), spending.enforced)
            })
            .collect()
    }

    #[test]
    fn only_what_is_enforced_can_refuse() {
        const ALL: &str = r#"{"counter":"c","window":1,"max":1}"#;
        const OWN: &str = r#"{"counter":"c","window":1,"max":1,"increment":2}"#;
        for (document, all, own) in [
            ("enforce", "enforce", "shadow"),
            ("enforce", "shadow", "enforce"),
            ("enforce", "shadow", "shadow"),
            ("shadow", "enforce", "enforce"),
            ("enforce", "enforce", "enforce"),
        ] {
            let text = format!(
                r#"{{"version":"1","default":"deny","mode":"{document}",
                    "all_tools":{{"mode":"{all}","limits":[{ALL}]}},
                    "tools":{{"t":{{"mode":"{own}","limits":[{OWN}]}}}}}}"#
            );
            let enforced = |mode| document == "enforce" && mode == "enforce";
            let expected = [
                (
                    "/all_tools/limits/c".to_owned(),
                    "1".to_owned(),
                    enforced(all),
                ),
                (
                    "/tools/t/limits/c".to_owned(),
                    "2".to_owned(),
                    enforced(own),
                ),
            ];
            assert_eq!(charges(&text, "{}"), expected, "{document} {all} {own}");
        }
    }

    /// What a pattern in shadow would deny is judged, and counted, by the others.
    #[test]
    fn what_another_rule_counts_is_enforced_beside_shadow() {
        let text = r#"{"version":"1","default":"deny",
            "all_tools":{"limits":[{"counter":"c","window":1,"max":9}]},
            "tools":{"t":{"mode":"shadow","limits":[{"counter":"c","window":1,"max":1}],
                          "unwrap":{"name":"args.n","arguments":"args.a"}},
                     "u":{"limits":[{"counter":"c","window":1,"max":1}]}}}"#;
        let expected = [
            // One call is enforced, and the one inside it is only tried.
            ("/all_tools/limits/c", "1", true),
            ("/tools/t/limits/c", "1", false),
            ("/tools/u/limits/c", "1", false),
        ];
        let expected = expected
            .map(|(place, amount, enforced)| (place.to_owned(), amount.to_owned(), enforced));
        assert_eq!(charges(text, r#"{"n":"u"}"#), expected);
        // Where it would be refused, only what is enforced counts.
        let [all, ..] = expected;
        assert_eq!(charges(text, r#"{"n":"v"}"#), [all]);
    }
}
