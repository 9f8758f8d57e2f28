//! What a policy says, in the order in which it is asked: the first refusal wins.

mod progress;
mod said;

use self::progress::{Demands, Progress};
use self::said::Said;
use smallvec::SmallVec;

use super::Policy;
use super::action::{Action, Arguments, Subject};
use super::approval::{Approval, Asking, Considered};
use super::check::Asked;
use super::compile::{Rules, fold_method, known_method};
use super::condition::MOST_FOUND;
use super::decision::{Decision, Outcome};
use super::document::{DefaultAction, RuleAction};
use super::index::NameSet;
use super::pins::{Pinned, Seen};
use super::risk::Known;
use super::rule::CompiledRule;
use super::section::{Entry, Kind, Look, Section, is_ordinary};
use super::unwrap::{DEEPEST, Unwrapping};
use super::uri;

impl Policy {
    /// Decides whether a caller may do something.
    ///
    /// The same action always gets the same decision: there is no clock, no
    /// counter and no I/O in it. What is used up by an action that is allowed is
    /// told by [`Decision::quotas`]; whether there is so much left is another
    /// question, and so is whether somebody has approved what [`Outcome::Ask`] asks
    /// about. See [the page on policies](crate::docs::policy).
    ///
    /// ```
    /// use mcp_policy::{Action, Outcome, Policy};
    ///
    /// let policy: Policy = r#"{
    ///     "version": "1",
    ///     "default": "deny",
    ///     "hide": ["admin_*"],
    ///     "tools": { "read_*": {}, "read_mail": { "action": "deny", "reason": "Private." } }
    /// }"#.parse()?;
    ///
    /// assert!(policy.decide(&Action::call_tool("read_file")).is_allowed());
    ///
    /// let refused = policy.decide(&Action::call_tool("read_mail"));
    /// assert_eq!(refused.outcome(), Outcome::Deny);
    /// assert_eq!(refused.rule(), "/tools/read_mail/action");
    /// assert_eq!(refused.reason(), Some("Private."));
    ///
    /// let unlisted = policy.decide(&Action::call_tool("write_file"));
    /// assert_eq!((unlisted.outcome(), unlisted.rule()), (Outcome::Deny, "(default deny)"));
    ///
    /// let hidden = policy.decide(&Action::call_tool("admin_reset"));
    /// assert_eq!((hidden.outcome(), hidden.rule()), (Outcome::Hide, "(hidden)"));
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub fn decide(&self, action: &Action<'_>) -> Decision<'_> {
        self.with_shadow(|rules| rules.decide(action, Names::All, &mut Unwatched))
    }

    /// What this policy says of the name alone, whatever the arguments and
    /// whoever calls.
    ///
    /// What this refuses is refused. What it allows or asks about can still be refused
    /// for more than its name, or be asked about, if it
    /// [is conditional](Self::is_conditional).
    ///
    /// ```
    /// use mcp_policy::{Action, Policy};
    ///
    /// let policy: Policy = r#"{
    ///     "version": "1",
    ///     "default": "deny",
    ///     "tools": { "list": {}, "refund": { "require": [ { "conditions": [
    ///         { "path": "args.amount", "op": "lte", "value": 500 }
    ///     ] } ] } }
    /// }"#.parse()?;
    ///
    /// let [list, refund, other] = ["list", "refund", "other"].map(Action::call_tool);
    /// assert!(policy.decide_name(&list).is_allowed() && !policy.is_conditional(&list));
    /// assert!(policy.decide_name(&refund).is_allowed() && policy.is_conditional(&refund));
    /// assert!(!policy.decide_name(&other).is_allowed() && !policy.is_conditional(&other));
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub fn decide_name(&self, action: &Action<'_>) -> Decision<'_> {
        self.with_shadow(|rules| rules.decide_name(action))
    }

    /// Whether more than the name is looked at to decide about this: arguments,
    /// the caller, the client, or what was used up before. See
    /// [`decide_name`](Self::decide_name).
    pub fn is_conditional(&self, action: &Action<'_>) -> bool {
        self.inner.rules.is_conditional(action)
    }

    /// Whether the thing may be seen in a list.
    pub(crate) fn shows(&self, action: &Action<'_>) -> bool {
        self.inner.rules.shows(action)
    }

    /// What is enforced, with what would be if nothing were in shadow.
    fn with_shadow<'p>(&'p self, decide: impl Fn(&'p Rules) -> Decision<'p>) -> Decision<'p> {
        let decision = decide(&self.inner.rules);
        match &self.inner.written {
            Some(written) => decision.beside(decide(written)),
            None => decision,
        }
    }
}

/// Which names of a document count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    All,
    /// As if the name in question were nowhere in it.
    Patterns,
}

/// Sees how a decision is made.
pub(super) trait Watch {
    /// What the name comes to, before anything is asked of the arguments.
    fn named(&mut self, kind: Kind, name: &str, decision: &Decision<'_>);
    /// A check that was asked.
    fn asked(&mut self, asked: &Asked<'_, '_>);
    /// What tells whether the action has to be approved. It was looked at in vain if
    /// the action is refused.
    fn considered(&mut self, considered: &Considered<'_>);
}

struct Unwatched;

impl Watch for Unwatched {
    fn named(&mut self, _: Kind, _: &str, _: &Decision<'_>) {}
    fn asked(&mut self, _: &Asked<'_, '_>) {}
    fn considered(&mut self, _: &Considered<'_>) {}
}

/// A use of something, perhaps inside the use of something else.
#[derive(Clone, Copy)]
struct Use<'r, 'a> {
    section: &'r Section,
    name: &'a str,
    arguments: Arguments<'a>,
    depth: usize,
}

impl Rules {
    pub(super) fn decide<'r>(
        &'r self,
        action: &Action<'_>,
        names: Names,
        watch: &mut impl Watch,
    ) -> Decision<'r> {
        let (section, name) = match self.section_of(action) {
            Ok(found) => found,
            Err(_) if names == Names::Patterns => return self.by_default().decision(),
            Err(method) => return self.other_method(method),
        };
        let what = Use {
            section,
            name,
            arguments: action.arguments,
            depth: 0,
        };
        let mut progress = Progress::default();
        let decision = self.decide_use(what, action, names, &mut progress, watch);
        let mut decision = progress.conclude(decision);
        decision.looked = progress.looked;
        decision
    }

    fn decide_name<'r>(&'r self, action: &Action<'_>) -> Decision<'r> {
        match self.section_of(action) {
            Ok((section, name)) => {
                let judge = |names| self.judge_pinned(section, name, names, action.seen);
                let said = judge(Names::All);
                let (decision, rule) = (said.decision(), said.rule());
                match decision.outcome() {
                    Outcome::Hide => decision.like(judge(Names::Patterns).decision()),
                    Outcome::Allow => {
                        let mut asking = Asking::default();
                        let approvals = self.demands(section.kind, rule).approvals.into_iter();
                        let always = approvals.filter(|approval| !approval.is_conditional());
                        always.for_each(|approval| asking.add(approval));
                        match asking.demand() {
                            Some(demand) => decision.asking(demand, None),
                            None => decision,
                        }
                    }
                    _ => decision,
                }
            }
            Err(method) => self.other_method(method),
        }
    }

    /// What [`decide_name`](Self::decide_name) comes to, without the words for it.
    fn shows(&self, action: &Action<'_>) -> bool {
        match self.section_of(action) {
            Ok((section, name)) => {
                let said = self.judge_pinned(section, name, Names::All, action.seen);
                said.outcome() != Outcome::Hide
            }
            // Only what a section names is hidden.
            Err(_) => true,
        }
    }

    fn is_conditional(&self, action: &Action<'_>) -> bool {
        let Ok((section, name)) = self.section_of(action) else {
            return false;
        };
        let said = self.judge_pinned(section, name, Names::All, action.seen);
        let all_approval = self.all_approval.as_ref();
        let of_all = self.all_tools.is_some()
            || self.all_limits.is_some()
            || all_approval.is_some_and(Approval::is_conditional);
        let of_all = section.kind == Kind::Tools && of_all;
        said.allows() && (of_all || said.rule().is_some_and(CompiledRule::asks))
    }

    /// The section that speaks of it, and its name; or the method.
    fn section_of<'a>(&self, action: &Action<'a>) -> Result<(&Section, &'a str), &'a str> {
        match action.subject {
            Subject::Tool(name) => Ok((&self.tools, name)),
            Subject::Prompt(name) => Ok((&self.prompts, name)),
            Subject::Resource(uri) => Ok((&self.resources, uri)),
            Subject::Method(method) => Err(method),
        }
    }

    /// Steps 1 to 5; and again for every call inside.
    fn decide_use<'r>(
        &'r self,
        what: Use<'r, '_>,
        action: &Action<'_>,
        names: Names,
        progress: &mut Progress<'r>,
        watch: &mut impl Watch,
    ) -> Decision<'r> {
        let said = self.judge_pinned(what.section, what.name, names, action.seen);
        let (decision, rule) = (said.decision(), said.rule());
        watch.named(what.section.kind, what.name, &decision);
        if !decision.is_allowed() {
            let is_hidden = decision.outcome() == Outcome::Hide && names == Names::All;
            return match is_hidden {
                true => decision.like(self.decide_unnamed(what, action, progress)),
                false => decision,
            };
        }
        let demands = self.demands(what.section.kind, rule);
        if let Some(refusal) = progress.ask(&demands, what, action, watch) {
            return refusal;
        }
        match rule.and_then(|rule| rule.unwrapping.as_ref()) {
            Some(unwrapping) => {
                let inside = self.decide_inside(unwrapping, what, action, progress, watch);
                inside.unwrap_or(decision)
            }
            None => decision,
        }
    }

    /// What is asked of a use that its name allows.
    fn demands<'r>(&'r self, kind: Kind, rule: Option<&'r CompiledRule>) -> Demands<'r> {
        let mut demands = Demands::default();
        if kind == Kind::Tools {
            push_some(&mut demands.checks, &self.all_tools);
            push_some(&mut demands.limits, &self.all_limits);
            push_some(&mut demands.approvals, &self.all_approval);
        }
        if let Some(rule) = rule {
            push_some(&mut demands.checks, &rule.checks);
            push_some(&mut demands.limits, &rule.limits);
            push_some(&mut demands.approvals, &rule.approval);
        }
        demands
    }

    /// What would be said of a use of something with a name that is nowhere in
    /// the document, and is otherwise like this one: only patterns and look-alikes
    /// speak of it.
    fn decide_unnamed<'r>(
        &'r self,
        what: Use<'r, '_>,
        action: &Action<'_>,
        progress: &mut Progress<'r>,
    ) -> Decision<'r> {
        let mut unnamed = progress.of_unnamed();
        let before = unnamed.before();
        let mut decision =
            self.decide_use(what, action, Names::Patterns, &mut unnamed, &mut Unwatched);
        if what.depth > 0 {
            unnamed.name_inner(before, what.name);
            decision.name_inner(what.name);
        }
        let decision = unnamed.conclude(decision);
        progress.take_back(unnamed);
        decision
    }

    /// The first refusal among the calls that a dispatcher should make.
    fn decide_inside<'r>(
        &'r self,
        unwrapping: &'r Unwrapping,
        what: Use<'r, '_>,
        action: &Action<'_>,
        progress: &mut Progress<'r>,
        watch: &mut impl Watch,
    ) -> Option<Decision<'r>> {
        let unreadable = || Some(Decision::of_unwrap(unwrapping.place()));
        let Arguments::Text(arguments, _) = what.arguments else {
            return unreadable();
        };
        let calls = (what.depth < DEEPEST).then(|| unwrapping.calls(arguments));
        let Some(calls) = calls.flatten() else {
            return unreadable();
        };
        progress.inside = progress.inside.saturating_add(calls.len());
        if progress.inside > MOST_FOUND {
            return unreadable();
        }
        calls.iter().find_map(|call| {
            let inner = Use {
                section: &self.tools,
                name: &call.name,
                arguments: Arguments::Text(call.arguments.as_deref().unwrap_or_default(), &[]),
                depth: what.depth + 1,
            };
            let before = progress.before();
            let mut decision = self.decide_use(inner, action, Names::All, progress, watch);
            if decision.is_allowed() {
                progress.name_inner(before, &call.name);
                return None;
            }
            decision.name_inner(&call.name);
            Some(decision)
        })
    }

    /// What the name comes to, if the tool is what somebody has approved.
    fn judge_pinned<'r>(
        &'r self,
        section: &'r Section,
        name: &str,
        names: Names,
        seen: Seen<'_>,
    ) -> Said<'r> {
        let said = self.judge(section, name, names, seen);
        let pins = self.pins.as_ref().filter(|_| section.kind == Kind::Tools);
        let Some(pins) = pins else {
            return said;
        };
        let pinned = match names {
            Names::All => pins.of_tool(name, seen),
            Names::Patterns if pins.pins_tools() => Pinned::New,
            Names::Patterns => Pinned::Fits,
        };
        match pinned {
            _ if said.outcome() == Outcome::Hide => said,
            Pinned::Fits => said,
            _ if pins.hides() => Said::Hidden,
            // What nothing names is refused for that.
            _ if !said.allows() && said.rule().is_none() => said,
            Pinned::New => Said::NotPinned,
            Pinned::Drifted => Said::Drifted,
        }
    }

    /// What the name comes to.
    pub(super) fn judge<'r>(
        &'r self,
        section: &'r Section,
        name: &str,
        names: Names,
        seen: Seen<'_>,
    ) -> Said<'r> {
        let named = self.judge_named(section, name, names);
        named.unwrap_or_else(|| {
            let known = self.known_risk(section, name, names, seen);
            let rule = known.and_then(|known| self.risk.as_ref()?.rule(known));
            rule.map_or(self.by_default(), Said::ByRule)
        })
    }

    /// How dangerous a tool is that nothing names, if that matters.
    pub(super) fn known_risk(
        &self,
        section: &Section,
        name: &str,
        names: Names,
        seen: Seen<'_>,
    ) -> Option<Known> {
        let by_risk = self.risk_of(section.kind);
        by_risk.map(|_| Known::of(name, names, seen))
    }

    /// What entries and `hide` say of the name; `None` if none of them speaks of it.
    ///
    /// What is hidden comes first, whichever way: else a refusal could tell
    /// that a hidden name is in the document.
    pub(super) fn judge_named<'r>(
        &'r self,
        section: &'r Section,
        name: &str,
        names: Names,
    ) -> Option<Said<'r>> {
        let name = &*section.kind.spelled(name);
        let of_entry = |entry: &'r Entry| Some(Said::ByRule(&entry.rule));
        if section.hide.has(name.as_bytes(), names) {
            return Some(Said::Hidden);
        }
        if names == Names::All {
            if let Some(entry) = section.entries.exact(name.as_bytes()) {
                return of_entry(entry);
            }
        }
        if section.kind == Kind::Resources && !uri::is_canonical(name) {
            return Some(self.not_canonical(section));
        }
        let matching = section.entries.patterns(name.as_bytes());
        let pattern = matching
            .max_by_key(|entry| entry.rank())
            .map(|entry| &**entry);
        if pattern.is_some_and(|entry| entry.rule.hides()) {
            return Some(Said::Hidden);
        }
        if self.is_free(section) {
            return pattern.and_then(of_entry);
        }
        let looks = section.looks(name);
        let hidden = &section.like_hidden;
        if looks.iter().any(|look| hidden.has(look.as_ref(), names)) {
            return Some(Said::Hidden);
        }
        if section.kind != Kind::Resources && !is_ordinary(name) {
            return Some(match self.default {
                DefaultAction::Allow => Said::NoSuchName,
                DefaultAction::Deny | DefaultAction::Hide => self.by_default(),
            });
        }
        if let Some(entry) = pattern.filter(|entry| entry.rule.action == RuleAction::Deny) {
            return of_entry(entry);
        }
        match (section.mistaken(name, &looks), pattern) {
            // Nothing names it, so it stays out of lists.
            (Some(_), None) if self.default == DefaultAction::Hide => Some(Said::Hidden),
            (Some(entry), _) => Some(Said::LookAlike(section.kind, &entry.rule)),
            (None, pattern) => pattern.and_then(of_entry),
        }
    }

    /// Whether nothing that the section could name is refused.
    pub(super) fn is_free(&self, section: &Section) -> bool {
        let by_risk = self.risk_of(section.kind);
        self.default == DefaultAction::Allow
            && !section.restricts_any()
            && !by_risk.is_some_and(|risk| risk.restricts_any())
    }

    /// What is said of a URI that no pattern may match. It can be another way
    /// to write any other, so it is hidden if some are.
    fn not_canonical(&self, section: &Section) -> Said<'_> {
        match self.default {
            _ if section.hides_any() => Said::Hidden,
            DefaultAction::Allow if section.restricts_any() => Said::NotCanonical,
            _ => self.by_default(),
        }
    }

    fn other_method(&self, method: &str) -> Decision<'_> {
        let methods = &self.methods;
        if let Some(entry) = methods.named.get(method) {
            return Decision::of_method(entry);
        }
        let Some(others) = &methods.others else {
            return Decision::DENIED_BY_DEFAULT;
        };
        if known_method(method).is_some() {
            return Decision::DENIED_BY_DEFAULT;
        }
        let denied = methods.like_denied.get(&fold_method(method));
        Decision::of_method(denied.unwrap_or(others))
    }

    fn by_default(&self) -> Said<'_> {
        match self.default {
            DefaultAction::Allow => Said::Allowed(self.default_place),
            DefaultAction::Deny => Said::DeniedByDefault,
            DefaultAction::Hide => Said::Hidden,
        }
    }
}

/// What `extend` would do by way of an iterator.
fn push_some<'r, T>(all: &mut SmallVec<[&'r T; 2]>, one: &'r Option<T>) {
    if let Some(one) = one {
        all.push(one);
    }
}

impl<T> NameSet<T> {
    fn has(&self, name: &[u8], names: Names) -> bool {
        match names {
            Names::All => self.contains(name),
            Names::Patterns => self.patterns(name).next().is_some(),
        }
    }
}

impl Section {
    /// An entry whose name or pattern one of the folded forms is or matches, and
    /// which does not name or match the name itself.
    fn mistaken(&self, name: &str, looks: &[Look<'_>]) -> Option<&Entry> {
        let like = &self.like_restricted;
        let entry = looks.iter().find_map(|look| {
            let look = look.as_ref();
            let exact = like.exact(look).filter(|entry| !entry.is_for(name));
            exact.or_else(|| {
                let patterns = like.patterns(look).filter(|entry| !entry.is_for(name));
                patterns.max_by_key(|entry| entry.rank())
            })
        });
        entry.map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests;
