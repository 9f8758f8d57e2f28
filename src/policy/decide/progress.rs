//! What is asked of one use after another, and what they use up together.

use smallvec::SmallVec;

use super::super::action::{Action, Arguments};
use super::super::approval::{Approval, Asking};
use super::super::check::{AllLooked, Checks, Looked, MOST_LOOKED, ask};
use super::super::condition::{Plan, Root, RootSet, Roots, Truths, evaluate};
use super::super::decision::Decision;
use super::super::limits::{Limits, Spent};
use super::{Use, Watch};
use crate::caller::Caller;

/// What is asked of a use that its name allows: of `all_tools` first, then of its
/// own rule.
#[derive(Default)]
pub(super) struct Demands<'r> {
    pub(super) checks: SmallVec<[&'r Checks; 2]>,
    pub(super) limits: SmallVec<[&'r Limits; 2]>,
    pub(super) approvals: SmallVec<[&'r Approval; 2]>,
}

impl Demands<'_> {
    fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.limits.is_empty() && self.approvals.is_empty()
    }

    fn look_at(&self) -> RootSet {
        let of_plans = self.plans().map(|plan| plan.looks_at());
        let of_limits = self.limits.iter().map(|limits| limits.look_at());
        of_plans.chain(of_limits).fold(RootSet::NONE, RootSet::and)
    }

    /// Those of the checks first.
    fn plans(&self) -> impl Iterator<Item = &Plan> {
        let of_checks = self.checks.iter().map(|checks| checks.plan());
        of_checks.chain(self.approvals.iter().map(|approval| approval.plan()))
    }
}

/// What has been looked at so far.
#[derive(Default)]
pub(super) struct Progress<'r> {
    pub(super) looked: AllLooked,
    /// How many calls there were inside calls. With more than can be found in one
    /// list the call is refused.
    pub(super) inside: usize,
    /// The caller as JSON, once somebody looks at it.
    caller: Option<String>,
    /// What is used up, if all of it is allowed.
    spent: Spent,
    /// The refusal that comes behind all others: of the first limit by which
    /// something cannot be counted.
    uncounted: Option<Decision<'r>>,
    /// What has to be approved, if all of it is allowed.
    asking: Asking<'r>,
    /// What was looked at to tell whether it has to be.
    considered: AllLooked,
}

/// What was known before a call inside another was judged.
#[derive(Clone, Copy)]
pub(super) struct Before {
    is_counted: bool,
    asks: bool,
}

impl<'r> Progress<'r> {
    /// Asks the checks of a use; gives the refusal, if one refuses. If none does,
    /// the use is counted.
    pub(super) fn ask(
        &mut self,
        demands: &Demands<'r>,
        what: Use<'r, '_>,
        action: &Action<'_>,
        watch: &mut impl Watch,
    ) -> Option<Decision<'r>> {
        if demands.is_empty() {
            return None;
        }
        let Arguments::Text(arguments, long_values) = what.arguments else {
            let first = demands.checks.iter().find_map(|checks| checks.first());
            if first.is_none() {
                count(demands, None, &mut self.spent, &mut self.uncounted);
                self.consider(demands, &[], watch);
            }
            return first.map(Decision::of_check);
        };
        let all_looked_at = demands.look_at();
        let looked_at = |root| all_looked_at.has(root);
        let named = |key: &str, value: &str| serde_json::json!({ key: value }).to_string();
        let resource =
            looked_at(Root::Resource).then(|| named("uri", &what.section.kind.spelled(what.name)));
        let tool = looked_at(Root::Tool).then(|| named("name", what.name));
        let caller = &mut self.caller;
        let caller = looked_at(Root::Caller)
            .then(|| &**caller.get_or_insert_with(|| caller_as_json(action.caller)));
        let roots = Roots {
            args: Some(arguments).filter(|text| !text.is_empty()),
            long_args: long_values,
            resource: resource.as_deref().map(str::as_bytes),
            caller: caller.map(str::as_bytes),
            tool: tool.as_deref().map(str::as_bytes),
            client: action.client,
        };
        // All values are looked up in one walk before the first check is asked.
        let plans: SmallVec<[&Plan; 4]> = demands.plans().collect();
        let truths = evaluate(&plans, &roots);
        let looked = &mut self.looked;
        let refusal = ask(&demands.checks, &truths, looked, |asked| watch.asked(asked));
        if refusal.is_none() {
            count(demands, Some(&roots), &mut self.spent, &mut self.uncounted);
            let truths = truths.get(demands.checks.len()..);
            self.consider(demands, truths.unwrap_or_default(), watch);
        }
        refusal.map(Decision::of_check)
    }

    /// Step 7, as far as it does not depend on who has approved what. What asks is
    /// asked at the end, because every refusal goes before it.
    fn consider(&mut self, demands: &Demands<'r>, truths: &[Truths], watch: &mut impl Watch) {
        for (index, approval) in demands.approvals.iter().enumerate() {
            let truths = truths.get(index).map(|truths| truths.as_slice());
            let considered = approval.consider(truths.unwrap_or_default());
            watch.considered(&considered);
            if considered.asks() {
                self.asking.add(approval);
            }
            remember(&mut self.considered, considered.conditions);
        }
    }

    /// What is known before a call inside another is judged.
    pub(super) fn before(&self) -> Before {
        Before {
            is_counted: self.uncounted.is_none(),
            asks: !self.asking.is_empty(),
        }
    }

    /// Says of what was found since then that it is for a call of this tool, unless it
    /// is for one inside of that.
    pub(super) fn name_inner(&mut self, before: Before, name: &str) {
        let uncounted = self.uncounted.as_mut().filter(|_| before.is_counted);
        let asking = &mut self.asking;
        let asks = !before.asks && !asking.is_empty();
        let inner = uncounted.map(|refusal| &mut refusal.inner);
        let inners = [inner, asks.then_some(&mut asking.inner)];
        for inner in inners.into_iter().flatten() {
            inner.get_or_insert_with(|| name.into());
        }
    }

    /// Steps 6 and 7, as far as they do not depend on what was used up or approved
    /// before.
    pub(super) fn conclude(&mut self, mut decision: Decision<'r>) -> Decision<'r> {
        if !decision.is_allowed() {
            return decision;
        }
        if let Some(refusal) = self.uncounted.take() {
            return refusal;
        }
        decision.spent = std::mem::take(&mut self.spent);
        if !self.considered.is_empty() {
            let considered = std::mem::take(&mut self.considered);
            remember(&mut self.looked, considered);
        }
        match self.asking.demand() {
            Some(demand) => decision.asking(demand, self.asking.inner.take()),
            None => decision,
        }
    }

    /// Where the same is asked of a name that is nowhere in the document.
    pub(super) fn of_unnamed(&mut self) -> Self {
        Self {
            inside: self.inside,
            caller: self.caller.take(),
            uncounted: self.uncounted.clone(),
            asking: self.asking.clone(),
            ..Self::default()
        }
    }

    /// Takes back what such a name has in common with this one.
    pub(super) fn take_back(&mut self, unnamed: Self) {
        self.inside = unnamed.inside;
        self.caller = unnamed.caller;
    }
}

/// As many as a decision remembers.
fn remember(looked: &mut AllLooked, more: impl IntoIterator<Item = Looked>) {
    let room = MOST_LOOKED.saturating_sub(looked.len());
    looked.extend(more.into_iter().take(room));
}

/// Counts one use by all of its limits. What cannot be counted is refused at the
/// end, because every check goes before every limit.
fn count<'r>(
    demands: &Demands<'r>,
    roots: Option<&Roots<'_>>,
    spent: &mut Spent,
    uncounted: &mut Option<Decision<'r>>,
) {
    if uncounted.is_some() {
        return;
    }
    let mut limits = demands.limits.iter();
    let failed = limits.find_map(|limits| limits.count(roots, spent).err());
    *uncounted = failed.map(Decision::of_uncounted);
}

fn caller_as_json(caller: Option<&Caller>) -> String {
    let anonymous = Caller::anonymous();
    let caller = caller.unwrap_or(&anonymous);
    serde_json::json!({ "id": caller.id(), "claims": caller.claims() }).to_string()
}
