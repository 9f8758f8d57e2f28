//! What a rule says of calls that wait until somebody approves them: compiled, and
//! what a call waits for.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;
use smallvec::SmallVec;

use super::check::{Looked, conditions};
use super::condition::{Plan, Regexes, Root, Truth, Use};
use super::diagnostic::{Problems, join};
use super::document::{Approver, RequireApproval, Rule};
use crate::digest::sha256;

/// What `require_approval` of one rule says.
#[derive(Debug)]
pub(super) struct Approval {
    plan: Plan,
    /// The places of the conditions, in the order of the plan.
    conditions: Vec<Arc<str>>,
    /// `/tools/NAME/require_approval`.
    place: String,
    approver: Approver,
    lifetime: Duration,
    reason: Option<String>,
    digest: String,
}

/// An approval that was looked at, and what came of it.
#[derive(Debug)]
pub(super) struct Considered<'c> {
    pub(super) approval: &'c Approval,
    pub(super) conditions: SmallVec<[Looked; 4]>,
    pub(super) truth: Truth,
}

impl Considered<'_> {
    /// Undecidable never helps the caller.
    pub(super) fn asks(&self) -> bool {
        self.truth != Truth::False
    }
}

impl Approval {
    /// `None` for a rule that never asks. What does not make sense is reported.
    pub(super) fn compile(
        rule: &Rule,
        place: &str,
        roots: &'static [Root],
        regexes: &mut Regexes,
        problems: &mut Problems,
    ) -> Option<Self> {
        let approval = rule.approval()?;
        let place = join(place, "require_approval");
        let at = join(&place, "conditions");
        let list = &approval.conditions;
        let (plan, conditions) = conditions(Use::Approval, list, &at, roots, regexes, problems);
        Some(Self {
            plan,
            conditions,
            approver: approval.approver,
            lifetime: approval.lifetime(),
            digest: digest(&approval, category_in(&place)),
            place,
            reason: approval.into_owned().reason,
        })
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether it depends on more than the name whether it asks.
    pub(super) fn is_conditional(&self) -> bool {
        !self.conditions.is_empty()
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Looks at it, with the truth of each of its conditions. Of what is not there
    /// it is undecidable.
    pub(super) fn consider(&self, truths: &[Truth]) -> Considered<'_> {
        let conditions = self.conditions.iter().enumerate();
        let conditions: SmallVec<[Looked; 4]> = conditions
            .map(|(index, place)| Looked {
                place: Arc::clone(place),
                truth: truths.get(index).copied().unwrap_or(Truth::Undecidable),
            })
            .collect();
        let truth = conditions
            .iter()
            .fold(Truth::True, |truth, looked| truth.and(looked.truth));
        Considered {
            approval: self,
            conditions,
            truth,
        }
    }
}

/// The category whose rule asks, if that is one by risk.
fn category_in(place: &str) -> Option<&str> {
    place.strip_prefix("/risk/")?.split('/').next()
}

/// The SHA-256 of what is written, however it is written: the object of which each
/// form is short, with the members of every object in the order of their names.
///
/// Which rule by risk applies is for the server to say: what was approved of a tool that
/// reads is not approved of one that deletes, whatever is written alike in both rules.
fn digest(approval: &RequireApproval, category: Option<&str>) -> String {
    // Strings, lists, numbers and maps with string keys cannot fail to serialise.
    let value = serde_json::to_value(approval).unwrap_or_default();
    let mut text = String::new();
    write_canonically(&value, &mut text);
    if let Some(category) = category {
        text.push(' ');
        text.push_str(category);
    }
    prefixed(&text)
}

fn prefixed(text: &str) -> String {
    format!("sha256:{}", sha256(text.as_bytes()))
}

/// Numbers of a document have one spelling once it is read. Recursion is bounded by
/// the depth of a document.
fn write_canonically(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            // Ordered by their UTF-16 code units, as in RFC 8785.
            members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            text.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonically(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonically(item, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// What a call waits for that may go on otherwise: one approval, however many rules
/// ask for one. See [the page on approvals](crate::docs::approvals), and
/// [`RequireApproval`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalDemand<'p> {
    approver: Approver,
    expires: Duration,
    reason: Option<Cow<'p, str>>,
    // Not small: else a decision could not be lent for a shorter time.
    rules: Vec<&'p str>,
    digest: Cow<'p, str>,
}

impl<'p> ApprovalDemand<'p> {
    /// Who may approve: an operator, if any of the rules asks one.
    pub fn approver(&self) -> Approver {
        self.approver
    }

    /// How long a request waits to be decided, and then an approval to be used: the
    /// shortest time of all rules that ask.
    pub fn expires(&self) -> Duration {
        self.expires
    }

    /// What the document says about why it asks: of several rules each reason once,
    /// in the order of [`rules`](Self::rules), with a space between them.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The place of every rule that asks, like `/tools/NAME/require_approval`. That of
    /// `all_tools` stands before that of the tool, and a dispatcher before the tools
    /// that it calls.
    pub fn rules(&self) -> impl Iterator<Item = &'p str> + '_ {
        self.rules.iter().copied()
    }

    /// Tells what asks from what asked before the document was edited: `sha256:` and
    /// the hexadecimal SHA-256 of the `require_approval` object that asks, or of the
    /// digests of several. That of a rule by risk also tells its category from others.
    /// Nothing else in the document changes it, and neither do order of keys nor white
    /// space.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// As an object with the members `approver`, `expires` in seconds, `reason` if there
/// is one, and `rules`.
impl Serialize for ApprovalDemand<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Members<'d> {
            approver: Approver,
            expires: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'d str>,
            rules: &'d [&'d str],
        }
        let members = Members {
            approver: self.approver,
            expires: self.expires.as_secs(),
            reason: self.reason(),
            rules: &self.rules,
        };
        members.serialize(serializer)
    }
}

/// The approvals that ask about one call, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking<'r> {
    all: SmallVec<[&'r Approval; 2]>,
    /// The inner tool for whose call the first of them asks, in a call of a
    /// dispatcher.
    pub(super) inner: Option<Box<str>>,
}

impl<'r> Asking<'r> {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn add(&mut self, approval: &'r Approval) {
        if !self.all.iter().any(|other| std::ptr::eq(*other, approval)) {
            self.all.push(approval);
        }
    }

    /// All of them as one, if there are any.
    pub(super) fn demand(&self) -> Option<ApprovalDemand<'r>> {
        let (first, others) = self.all.split_first()?;
        let all = || self.all.iter();
        let is_operators = all().any(|approval| approval.approver == Approver::Operator);
        let shortest = |time: Duration, other: &&Approval| time.min(other.lifetime);
        Some(ApprovalDemand {
            approver: match is_operators {
                true => Approver::Operator,
                false => Approver::Caller,
            },
            expires: others.iter().fold(first.lifetime, shortest),
            reason: self.reason(),
            rules: all().map(|approval| approval.place()).collect(),
            digest: match others {
                [] => Cow::Borrowed(&first.digest),
                _ => {
                    let digests: Vec<&str> = all().map(|approval| &*approval.digest).collect();
                    Cow::Owned(prefixed(&digests.join(" ")))
                }
            },
        })
    }

    fn reason(&self) -> Option<Cow<'r, str>> {
        let mut reasons: SmallVec<[&'r str; 2]> = SmallVec::new();
        for approval in &self.all {
            let reason = approval.reason.as_deref();
            if let Some(reason) = reason.filter(|reason| !reasons.contains(reason)) {
                reasons.push(reason);
            }
        }
        match reasons.as_slice() {
            [] => None,
            [only] => Some(Cow::Borrowed(*only)),
            several => Some(Cow::Owned(several.join(" "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::document::Condition;
    use super::super::{Operator, Policy};
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_canonical_text() {
        let mut approval = RequireApproval {
            reason: Some("Häufig\u{2028}\"nie\"".to_owned()),
            expires: Some(60),
            approver: Approver::Caller,
            ..RequireApproval::default()
        };
        // U+FF41 is one code unit and greater than the two of U+1F600.
        let value =
            json!({ "\u{ff41}": 0.5, "\u{1f600}": [], "b": null, "a": { "z": 1, "y": -3 } });
        let condition = Condition::new("args.a", Operator::Eq, value);
        approval.conditions.push(condition);
        let text = "{\"approver\":\"caller\",\"conditions\":[{\"op\":\"eq\",\"path\":\"args.a\",\
                    \"value\":{\"a\":{\"y\":-3,\"z\":1},\"b\":null,\"\u{1f600}\":[],\"\u{ff41}\":0.5}}],\
                    \"expires\":60,\"reason\":\"Häufig\u{2028}\\\"nie\\\"\"}";
        assert_eq!(digest(&approval, None), prefixed(text));
        // Of a rule by risk it tells which.
        let of_risk = ["read", "write"].map(|category| digest(&approval, Some(category)));
        assert_eq!(of_risk[0], prefixed(&format!("{text} read")));
        assert_ne!(of_risk[0], of_risk[1]);
        assert_eq!(digest(&RequireApproval::default(), None), prefixed("{}"));
    }

    /// The one of a rule of tools, as it is compiled.
    fn of_rule(rule: Value) -> String {
        let document = json!({ "version": "1", "default": "deny", "tools": { "t": rule } });
        let policy: Policy = document.to_string().parse().unwrap();
        let entry = policy.inner.rules.tools.entries.exact(b"t").unwrap();
        entry.rule.approval.as_ref().unwrap().digest.clone()
    }

    #[test]
    fn what_means_the_same_has_the_same_digest() {
        let same = of_rule(json!({ "require_approval": true }));
        assert_eq!(of_rule(json!({ "require_approval": {} })), same);
        assert_eq!(of_rule(json!({ "action": "require_approval" })), same);
        let operator = json!({ "require_approval": { "approver": "operator" } });
        assert_eq!(of_rule(operator), same);
        let reason = of_rule(json!({ "require_approval": { "reason": "x" } }));
        let short = json!({ "action": "require_approval", "reason": "x" });
        assert_eq!(of_rule(short), reason);
        assert_ne!(reason, same);
    }
}
