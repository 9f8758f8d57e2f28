use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::approval::ApprovalDemand;
use super::check::{AllLooked, Compiled, Looked};
use super::compile::MethodEntry;
use super::condition::Truth;
use super::document::{MethodRule, RuleAction};
use super::limits::{Spent, Uncounted};
use super::quota::{Amount, Quota, Spending};
use super::rule::CompiledRule;
use super::section::Kind;

/// What a policy says to an [`Action`](super::Action), and by which rule.
///
/// See [`Policy::decide`](super::Policy::decide) for an example, and
/// [the page on policies](crate::docs::policy#rules).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    outcome: Outcome,
    rule: &'p str,
    reason: Option<&'p str>,
    /// Whether it is refused for its arguments or its caller.
    is_by_check: bool,
    /// The inner call that decided, in a call of a dispatcher.
    pub(super) inner: Option<Box<str>>,
    pub(super) looked: AllLooked,
    /// Nothing if it is refused.
    pub(super) spent: Spent,
    approval: Option<Box<ApprovalDemand<'p>>>,
    shadow: Option<Box<Decision<'p>>>,
    /// Of something hidden: what would be said if it were not in the document, if
    /// that is more than the default.
    unnamed: Option<Box<Decision<'p>>>,
}

impl<'p> Decision<'p> {
    /// Whether it passes, as it is: what has to be approved first does not.
    pub fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allow
    }

    /// What is to be done.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What decided: a JSON Pointer into the document, or a name in
    /// parentheses where no place in the document did.
    ///
    /// - `/tools/NAME/action`, `/methods/NAME`: the rule that refuses.
    /// - `/tools/NAME/deny_if/CHECK`, `/tools/NAME/require/CHECK`,
    ///   `/all_tools/require/CHECK`: the check that refuses.
    /// - `/tools/NAME/limits/COUNTER`: the limit by which it cannot be counted. How
    ///   much was used up before has no part in it.
    /// - `/tools/NAME/require_approval`, `/all_tools/require_approval`: the first rule
    ///   that asks for an approval.
    /// - `/tools/NAME/unwrap`: what the dispatcher should call cannot be read.
    /// - `/risk/CATEGORY/action`, `/risk/CATEGORY/limits/COUNTER`, and so on: the same of
    ///   the rule for tools of a category.
    /// - `/tools/NAME`, `/risk/CATEGORY`, `/methods/NAME`, `/default`: what allows.
    /// - `/mode`: allowed, because the whole document is in shadow.
    /// - `/tools/NAME` of a refusal: the name in question is not this one, but
    ///   can be mistaken for it.
    /// - `/resources/URI` and `/prompts/NAME`: likewise.
    /// - `(default deny)`: nothing in the document speaks of it.
    /// - `(hidden)`: hidden, by whatever part of the document. It is the same
    ///   for a name that is not in the document where these are hidden.
    /// - `(not pinned)`, `(drift)`: the definition of the tool is not one that is in
    ///   `pins`, or is not what it was then.
    /// - `(protocol)`: no tool or prompt has such a name, or the URI is one
    ///   that can be read in more than one way.
    pub fn rule(&self) -> &'p str {
        self.rule
    }

    /// Text for the caller, where the document has one, or where the refusal
    /// needs to be explained. Never there for what is hidden.
    pub fn reason(&self) -> Option<&'p str> {
        self.reason
    }

    /// Whether it is refused for its arguments, or for who calls: the same might
    /// be allowed otherwise.
    pub(crate) fn is_by_check(&self) -> bool {
        self.is_by_check
    }

    /// What has to be approved before it passes: there if the outcome is
    /// [`Outcome::Ask`], and only then.
    ///
    /// Whether it was approved is no matter of the policy. Where nobody can be asked,
    /// or the answer cannot be waited for, what asks is to be refused.
    pub fn approval(&self) -> Option<&ApprovalDemand<'p>> {
        self.approval.as_deref()
    }

    /// The tool that decided, if that is not the one that is called but one that
    /// this, a dispatcher, should call.
    pub fn inner(&self) -> Option<&str> {
        self.inner.as_deref()
    }

    /// The place of every condition that was looked at, and what it came to.
    pub fn conditions(&self) -> impl Iterator<Item = (&str, Truth)> {
        self.all_looked()
            .iter()
            .map(|looked| (&*looked.place, looked.truth))
    }

    pub(crate) fn shared_conditions(&self) -> impl Iterator<Item = (Arc<str>, Truth)> {
        self.all_looked()
            .iter()
            .map(|looked| (Arc::clone(&looked.place), looked.truth))
    }

    /// What is in shadow is looked at as well.
    fn all_looked(&self) -> &[Looked] {
        match &self.shadow {
            Some(shadow) => &shadow.looked,
            None => &self.looked,
        }
    }

    /// What is used up by it, if it is allowed, or once it is approved: of each quota so
    /// much, the quotas of `all_tools` first. Those that are only in shadow are among
    /// them.
    ///
    /// How much can be the value of an argument: it does not belong into records.
    pub fn quotas(&self) -> impl Iterator<Item = (&Quota, Amount)> {
        let spending = self.spending().iter();
        spending.map(|spending| (&*spending.quota, spending.amount))
    }

    /// What is to be charged for it.
    pub(crate) fn spending(&self) -> &[Spending] {
        self.spent.as_slice()
    }

    /// What the policy would say if nothing of it were in shadow; `None` if it
    /// would say the same.
    pub fn shadow(&self) -> Option<&Decision<'p>> {
        self.shadow.as_deref()
    }

    /// Of something hidden: what is said of a name that is nowhere in the document
    /// and is otherwise like this one, if patterns or look-alikes speak of it.
    /// Nobody can tell the two apart, if both are answered like that.
    pub(crate) fn unnamed(&self) -> Option<&Decision<'p>> {
        self.unnamed.as_deref()
    }

    pub(super) fn like(mut self, unnamed: Self) -> Self {
        let says_more = match unnamed.outcome {
            Outcome::Deny => unnamed != Self::DENIED_BY_DEFAULT,
            Outcome::Ask => true,
            Outcome::Allow | Outcome::Hide => false,
        };
        self.unnamed = says_more.then(|| Box::new(unnamed));
        self
    }

    /// The same, with what would be decided if nothing were in shadow.
    pub(super) fn beside(mut self, mut written: Self) -> Self {
        let is_same = written.outcome == self.outcome
            && match self.outcome {
                Outcome::Allow => true,
                Outcome::Ask => written.approval == self.approval,
                Outcome::Deny | Outcome::Hide => {
                    (written.rule, written.inner()) == (self.rule, self.inner())
                }
            };
        // What is in shadow counts, too.
        let spent = std::mem::take(&mut written.spent);
        if self.may_pass() {
            self.spent = self.spent.beside(spent);
        }
        if is_same {
            // And it was looked at.
            self.looked = written.looked;
        } else {
            self.shadow = Some(Box::new(written));
        }
        self
    }

    /// Whether it passes, now or once it is approved.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.outcome, Outcome::Allow | Outcome::Ask)
    }

    /// The same of something that would pass otherwise and has to be approved.
    pub(super) fn asking(self, demand: ApprovalDemand<'p>, inner: Option<Box<str>>) -> Self {
        let rule = demand.rules().next().unwrap_or(self.rule);
        Self {
            outcome: Outcome::Ask,
            rule,
            inner,
            approval: Some(Box::new(demand)),
            ..self
        }
    }

    /// The same once it is approved, if that is what it waits for.
    pub(crate) fn approved(mut self) -> Self {
        if self.outcome == Outcome::Ask {
            self.outcome = Outcome::Allow;
            self.approval = None;
        }
        self.shadow = self.shadow.filter(|shadow| shadow.outcome != Outcome::Ask);
        self
    }

    /// Says of a refusal that it is for a call of this tool inside another, unless it
    /// is for one inside of that.
    pub(super) fn name_inner(&mut self, name: &str) {
        if !self.is_allowed() {
            self.inner.get_or_insert_with(|| name.into());
        }
    }

    pub(super) const HIDDEN: Self = Self::new(Outcome::Hide, "(hidden)", None);
    pub(super) const DENIED_BY_DEFAULT: Self = Self::new(Outcome::Deny, "(default deny)", None);
    pub(super) const NO_SUCH_NAME: Self = Self::new(
        Outcome::Deny,
        "(protocol)",
        Some("This name is longer than names are, or has characters that do not belong into one."),
    );
    pub(super) const NOT_CANONICAL: Self = Self::new(
        Outcome::Deny,
        "(protocol)",
        Some("This URI can be read in more than one way, and the policy does not name it."),
    );

    pub(super) const NOT_PINNED: Self = Self::new(
        Outcome::Deny,
        "(not pinned)",
        Some("Nobody has approved what the server says of this tool."),
    );
    pub(super) const DRIFTED: Self = Self::new(
        Outcome::Deny,
        "(drift)",
        Some("What the server says of this tool has changed since somebody approved it."),
    );

    const fn new(outcome: Outcome, rule: &'p str, reason: Option<&'p str>) -> Self {
        Self {
            outcome,
            rule,
            reason,
            is_by_check: false,
            inner: None,
            looked: AllLooked::new_const(),
            spent: Spent::NOTHING,
            approval: None,
            shadow: None,
            unnamed: None,
        }
    }

    pub(super) const fn allow(rule: &'p str) -> Self {
        Self::new(Outcome::Allow, rule, None)
    }

    /// What the action of a rule says of names that are its own.
    pub(super) fn of_rule(rule: &'p CompiledRule) -> Self {
        match rule.action {
            RuleAction::Allow | RuleAction::RequireApproval => Self::allow(rule.place()),
            RuleAction::Deny => {
                Self::new(Outcome::Deny, rule.action_place(), rule.reason.as_deref())
            }
            RuleAction::Hide => Self::HIDDEN,
        }
    }

    /// What the rule of an entry says of a name that can be mistaken for its own.
    pub(super) fn of_look_alike(kind: Kind, rule: &'p CompiledRule) -> Self {
        let reason = match kind {
            Kind::Tools | Kind::Prompts => {
                "This name can be mistaken for one that the policy restricts."
            }
            Kind::Resources => "This URI can be mistaken for one that the policy restricts.",
        };
        Self::new(Outcome::Deny, rule.place(), Some(reason))
    }

    /// What a check says that refuses.
    pub(super) fn of_check(check: &'p Compiled) -> Self {
        let reason = check.on_deny();
        let reason = reason.unwrap_or("The policy does not allow it like this.");
        Self {
            is_by_check: true,
            ..Self::new(Outcome::Deny, check.place(), Some(reason))
        }
    }

    /// Where it cannot be told how much is used up.
    pub(super) fn of_uncounted(uncounted: Uncounted<'p>) -> Self {
        Self {
            is_by_check: true,
            ..Self::new(Outcome::Deny, uncounted.place, Some(uncounted.reason))
        }
    }

    /// For a dispatcher, if it cannot be told what it should call.
    pub(super) fn of_unwrap(place: &'p str) -> Self {
        const REASON: &str = "The calls inside this one cannot be read, or are too many or too deep \
                              inside each other, so they cannot be judged.";
        Self::new(Outcome::Deny, place, Some(REASON))
    }

    pub(super) fn of_method(entry: &'p MethodEntry) -> Self {
        match entry.rule {
            MethodRule::Allow => Self::allow(&entry.place),
            MethodRule::Deny => Self::new(Outcome::Deny, &entry.place, None),
        }
    }
}

/// As an object with the members `outcome`, `rule`, `reason`, `approval`, `inner`
/// and `shadow`, each where there is one.
impl Serialize for Decision<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Members<'d> {
            outcome: Outcome,
            rule: &'d str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'d str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            approval: Option<&'d ApprovalDemand<'d>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            inner: Option<&'d str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            shadow: Option<&'d Decision<'d>>,
        }
        let members = Members {
            outcome: self.outcome,
            rule: self.rule,
            reason: self.reason,
            approval: self.approval(),
            inner: self.inner(),
            shadow: self.shadow(),
        };
        members.serialize(serializer)
    }
}

/// What a [`Decision`] comes to.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It passes.
    Allow,
    /// It is refused; what it names is still listed.
    Deny,
    /// It is refused as if what it names did not exist, and that is left out
    /// of lists. Under `"default": "deny"` this is answered like
    /// `(default deny)`, because there a name that does not exist is.
    Hide,
    /// It waits until somebody has approved exactly it, and passes then. See
    /// [`Decision::approval`].
    Ask,
}
