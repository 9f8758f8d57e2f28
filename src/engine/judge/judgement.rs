//! What is to become of a message.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::PROTOCOL;
use crate::approval::Demand;
use crate::audit::{Conditions, MOST_KEYS, Shadow, Verdict};
use crate::engine::SESSION;
use crate::engine::words::{STORE, unknown_method};
use crate::mcp::message::Call;
use crate::mcp::reply::{Refusal, Thing};
use crate::mcp::shown;
use crate::policy::{Decision, Outcome, Spending};

/// What is to become of a message, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) rule: Cow<'static, str>,
    /// What the message names, as it may be shown.
    pub(crate) name: Option<Arc<str>>,
    /// The tool that decided, if a dispatcher should call it.
    pub(crate) inner: Option<String>,
    /// What else it names.
    pub(crate) more_names: Vec<Arc<str>>,
    /// Whether something runs by it.
    pub(crate) runs: bool,
    /// The conditions that were looked at.
    pub(crate) conditions: Conditions,
    /// What would be decided if nothing in the policy were in shadow.
    pub(crate) shadow: Option<Shadow>,
    /// What kind of thing it uses.
    pub(crate) thing: Option<Thing>,
    /// What it uses up, if it may go on.
    pub(crate) spending: SmallVec<[Spending; 4]>,
    /// What has to be approved first, if it can wait for that. Where nobody can be
    /// asked it is refused.
    pub(crate) demand: Option<Box<Demand>>,
    /// How it is refused all the same once it is approved: what is hidden waits like
    /// what does not exist.
    pub(crate) approved: Option<Box<Refusal>>,
    /// How it is refused; `None` if it may go on.
    pub(crate) refusal: Option<Refusal>,
}

impl Judgement {
    /// For what always passes: nothing runs by it.
    pub(crate) const PASSES: Self = Self {
        verdict: Verdict::Allowed,
        rule: Cow::Borrowed(PROTOCOL),
        name: None,
        inner: None,
        more_names: Vec::new(),
        runs: false,
        conditions: Conditions::new_const(),
        shadow: None,
        thing: None,
        spending: SmallVec::new_const(),
        demand: None,
        approved: None,
        refusal: None,
    };

    pub(super) fn allowed(rule: &str, name: Option<Arc<str>>) -> Self {
        Self {
            rule: Cow::Owned(rule.to_owned()),
            name,
            runs: true,
            ..Self::PASSES
        }
    }

    pub(super) fn denied(rule: &str, name: Option<Arc<str>>, refusal: Refusal) -> Self {
        Self {
            verdict: Verdict::Denied,
            refusal: Some(refusal),
            ..Self::allowed(rule, name)
        }
    }

    /// Of a message that names another thing, too, which may be used as well.
    pub(super) fn join(&mut self, other: Self) {
        let room = |held: usize| MOST_KEYS.saturating_sub(held);
        let names = other.name.into_iter().take(room(self.more_names.len()));
        self.more_names.extend(names);
        let conditions = other.conditions.into_iter();
        let conditions = conditions.take(room(self.conditions.len()));
        self.conditions.extend(conditions);
        self.shadow = self.shadow.take().or(other.shadow);
        self.spending.extend(other.spending);
    }

    /// Adds what else is recorded of the decision.
    pub(super) fn note(&mut self, decision: &Decision<'_>) {
        self.inner = decision.inner().map(shown);
        self.conditions = decision.shared_conditions().collect();
        self.demand = decision.approval().map(|demand| Box::new(demand.into()));
        if self.refusal.is_none() || self.demand.is_some() {
            self.spending = decision.spending().iter().cloned().collect();
        }
        self.shadow = decision.shadow().map(|shadow| Shadow {
            verdict: match shadow.outcome() {
                Outcome::Allow => Verdict::Allowed,
                Outcome::Hide => Verdict::Hidden,
                // Nobody can be asked here.
                Outcome::Deny | Outcome::Ask => Verdict::Denied,
            },
            rule: shadow.rule().to_owned(),
        });
    }

    /// The same of a use that waits for nobody: what has to be approved is refused.
    pub(super) fn at_once(mut self) -> Self {
        self.demand = None;
        self
    }

    /// The same of a method that the version of the call does not have: if it is
    /// refused, then like one that nobody has.
    pub(super) fn of_no_method(mut self, call: &Call<'_>) -> Self {
        if self.refusal.is_some() && self.verdict != Verdict::Unavailable {
            self.refusal = Some(unknown_method(call));
        }
        self
    }
}

impl From<Refusal> for Judgement {
    /// For what no policy refuses, but the protocol, or a fault of ours.
    fn from(refusal: Refusal) -> Self {
        let (verdict, rule) = match &refusal {
            Refusal::NoSession => (Verdict::Denied, SESSION),
            Refusal::Failed | Refusal::Unavailable { .. } => (Verdict::Unavailable, STORE),
            Refusal::Busy => (Verdict::Unavailable, PROTOCOL),
            _ => (Verdict::Invalid, PROTOCOL),
        };
        Self {
            verdict,
            rule: Cow::Borrowed(rule),
            refusal: Some(refusal),
            ..Self::PASSES
        }
    }
}
