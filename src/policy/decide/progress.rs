//! What is asked of one use after another, and what they use up together.

use smallvec::SmallVec;

use super::super::action::{Action, Arguments};
use super::super::check::{Asked, Checks, Looked, ask};
use super::super::condition::{Root, Roots};
use super::super::decision::Decision;
use super::super::limits::{Limits, Spent};
use super::{Use, Watch};
use crate::caller::Caller;

/// Conditions that a decision remembers.
const MOST_LOOKED: usize = 64;

/// What is asked of a use that its name allows: of `all_tools` first, then of its
/// own rule.
pub(super) struct Demands<'r> {
    pub(super) checks: SmallVec<[&'r Checks; 2]>,
    pub(super) limits: SmallVec<[&'r Limits; 2]>,
}

impl Demands<'_> {
    fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.limits.is_empty()
    }

    fn look_at(&self, root: Root) -> bool {
        self.checks.iter().any(|checks| checks.look_at(root))
            || self.limits.iter().any(|limits| limits.look_at(root))
    }
}

/// What has been looked at so far.
#[derive(Default)]
pub(super) struct Progress<'r> {
    pub(super) looked: Vec<Looked>,
    /// How many calls there were inside calls. With more than can be found in one
    /// list the call is refused.
    pub(super) inside: usize,
    /// The caller as JSON, once somebody looks at it.
    caller: Option<String>,
    /// What is used up, if all of it is allowed.
    spent: Spent,
    /// The refusal that comes behind all others: of the first limit by which
    /// something cannot be counted.
    pub(super) uncounted: Option<Decision<'r>>,
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
        let Arguments::Text(arguments) = what.arguments else {
            let first = demands.checks.iter().find_map(|checks| checks.first());
            if first.is_none() {
                count(demands, None, &mut self.spent, &mut self.uncounted);
            }
            return first.map(Decision::of_check);
        };
        let looked_at = |root| demands.look_at(root);
        let named = |key: &str, value: &str| serde_json::json!({ key: value }).to_string();
        let resource =
            looked_at(Root::Resource).then(|| named("uri", &what.section.kind.spelled(what.name)));
        let tool = looked_at(Root::Tool).then(|| named("name", what.name));
        let caller = &mut self.caller;
        let caller = looked_at(Root::Caller)
            .then(|| &**caller.get_or_insert_with(|| caller_as_json(action.caller)));
        let roots = Roots {
            args: Some(arguments).filter(|text| !text.is_empty()),
            resource: resource.as_deref().map(str::as_bytes),
            caller: caller.map(str::as_bytes),
            tool: tool.as_deref().map(str::as_bytes),
            client: action.client,
        };
        let looked = &mut self.looked;
        let refusal = ask(&demands.checks, &roots, |asked: Asked<'_>| {
            watch.asked(&asked);
            let room = MOST_LOOKED.saturating_sub(looked.len());
            looked.extend(asked.conditions.into_iter().take(room));
        });
        if refusal.is_none() {
            count(demands, Some(&roots), &mut self.spent, &mut self.uncounted);
        }
        refusal.map(Decision::of_check)
    }

    /// Step 6, as far as it does not depend on what was used up before.
    pub(super) fn spend(&mut self, mut decision: Decision<'r>) -> Decision<'r> {
        if !decision.is_allowed() {
            return decision;
        }
        match self.uncounted.take() {
            Some(refusal) => refusal,
            None => {
                decision.spent = std::mem::take(&mut self.spent);
                decision
            }
        }
    }

    /// Where the same is asked of a name that is nowhere in the document.
    pub(super) fn of_unnamed(&mut self) -> Self {
        Self {
            inside: self.inside,
            caller: self.caller.take(),
            uncounted: self.uncounted.clone(),
            ..Self::default()
        }
    }

    /// Takes back what such a name has in common with this one.
    pub(super) fn take_back(&mut self, unnamed: Self) {
        self.inside = unnamed.inside;
        self.caller = unnamed.caller;
    }
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
