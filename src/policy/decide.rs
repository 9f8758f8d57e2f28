//! What a policy says, in the order in which it is asked: the first refusal wins.

mod progress;
mod said;

use self::progress::{Demands, Progress};
use self::said::Said;
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
    fn asked(&mut self, asked: &Asked<'_>);
    /// What tells whether the action has to be approved. It was looked at in vain if
    /// the action is refused.
    fn considered(&mut self, considered: &Considered<'_>);
}

struct Unwatched;

impl Watch for Unwatched {
    fn named(&mut self, _: Kind, _: &str, _: &Decision<'_>) {}
    fn asked(&mut self, _: &Asked<'_>) {}
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
        let of_all = Some(self).filter(|_| kind == Kind::Tools);
        let checks = of_all.and_then(|all| all.all_tools.as_ref()).into_iter();
        let limits = of_all.and_then(|all| all.all_limits.as_ref()).into_iter();
        let approvals = of_all.and_then(|all| all.all_approval.as_ref()).into_iter();
        Demands {
            checks: checks
                .chain(rule.and_then(|rule| rule.checks.as_ref()))
                .collect(),
            limits: limits
                .chain(rule.and_then(|rule| rule.limits.as_ref()))
                .collect(),
            approvals: approvals
                .chain(rule.and_then(|rule| rule.approval.as_ref()))
                .collect(),
        }
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mcp::message::Message;
    use crate::mcp::params::Param;

    /// Where a pattern lets unknown names pass, and counts them.
    #[test]
    fn what_is_hidden_is_counted_like_what_does_not_exist() {
        let policy: Policy = r#"{"version":"1","default":"deny","hide":["read_secret"],"tools":{
            "read_*":{"limits":[{"counter":"c","window":1,"max":1,"increment_from":"args.a"}]},
            "all":{"limits":[{"counter":"c","window":1,"max":1,"increment_from":"args.b"}],
                   "unwrap":{"name":"args.n","arguments":"args.p"}}}}"#
            .parse()
            .unwrap();
        for arguments in ["{}", r#"{"a":1}"#, r#"{"a":"1"}"#] {
            let decide = |name| {
                let call = Action::call_tool(name).with_arguments(arguments).unwrap();
                policy.decide(&call)
            };
            let (hidden, unknown) = (decide("read_secret"), decide("read_other"));
            assert_eq!(hidden.outcome(), Outcome::Hide);
            assert!(hidden.spending().is_empty());
            let said = (!unknown.is_allowed()).then_some(&unknown);
            assert_eq!(hidden.unnamed(), said, "{arguments}");
            // Inside of a call that cannot be counted itself.
            let inside = |name: &str| {
                let arguments = format!(r#"{{"n":"{name}","p":{arguments}}}"#);
                let call = Action::call_tool("all").with_arguments(&arguments).unwrap();
                let decision = policy.decide(&call);
                let said = decision.unnamed().unwrap_or(&decision);
                (said.rule().to_owned(), said.reason().map(str::to_owned))
            };
            assert_eq!(inside("read_secret"), inside("read_other"), "{arguments}");
        }
    }

    /// Else its refusal would tell it from one that is nowhere in the document.
    #[test]
    fn the_calls_inside_a_hidden_one_count_with_those_before_it() {
        let policy: Policy = r#"{
            "version": "1",
            "default": "deny",
            "hide": ["d_secret"],
            "tools": {
                "ok": {},
                "d_*": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" } }
            }
        }"#
        .parse()
        .unwrap();
        let ok = r#"{"tool":"ok"}"#;
        for (within, is_too_many) in [(499, false), (500, true)] {
            let inner = format!(r#"{{"calls":[{}]}}"#, vec![ok; within].join(","));
            let said = |name: &str| {
                let last = format!(r#"{{"tool":"{name}","input":{inner}}}"#);
                let calls = format!(r#"{{"calls":[{},{last}]}}"#, vec![ok; 500].join(","));
                let call = Action::call_tool("d_batch").with_arguments(&calls).unwrap();
                let decision = policy.decide(&call);
                let said = match decision.outcome() {
                    Outcome::Hide => decision.unnamed().cloned(),
                    _ => Some(decision).filter(|decision| !decision.is_allowed()),
                };
                said.map(|said| said.rule().to_owned())
            };
            let expected = is_too_many.then(|| "/tools/d_*/unwrap".to_owned());
            assert_eq!(
                [said("d_other"), said("d_secret")],
                [expected.clone(), expected]
            );
        }
    }

    fn value_of_an_argument() -> impl Strategy<Value = String> {
        let short = prop::sample::select(vec!["1", "-7.5", "null", "[]", r#""x""#, r#"{"c":2}"#]);
        let text = "(\\\\[\"n\\\\]|[a-c{}\\[\\]:, \u{e9}]){30,80}";
        let text = text.prop_map(|text| format!("\"{text}\""));
        let leaf = prop_oneof![2 => short.prop_map(str::to_owned), 1 => text];
        leaf.prop_recursive(3, 40, 12, |inner| {
            let member = (key_of_an_argument(), inner.clone());
            let member = member.prop_map(|(key, value)| format!("\"{key}\" :{value}"));
            let list = prop::collection::vec(inner, 0..12);
            prop_oneof![
                list.prop_map(|items| format!("[ {} ]", items.join(" ,"))),
                prop::collection::vec(member, 0..4)
                    .prop_map(|members| format!("{{{}}}", members.join(", "))),
            ]
        })
    }

    fn key_of_an_argument() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a", "\\u0061", "A", "b", "c", "d", "", "calls", "tool", "input",
        ])
    }

    proptest! {
        /// Its long values are not read again then.
        #[test]
        fn what_was_read_in_a_message_is_judged_like_what_is_read_first(
            members in prop::collection::vec((key_of_an_argument(), value_of_an_argument()), 0..6),
            calls in prop::collection::vec(value_of_an_argument(), 0..4),
            space in prop::sample::select(vec!["", " ", "\n\t"]),
            name in prop::sample::select(vec!["run", "each"]),
        ) {
            let policy: Policy = r#"{"version": "1", "default": "deny", "tools": {
                "run": {
                    "require": [{ "conditions": [
                        { "path": "args.a", "op": "exists", "value": true },
                        { "path": "args.b[*].c", "op": "lte", "value": 5 },
                        { "path": "args.d", "op": "contains", "value": 1 }
                    ] }],
                    "limits": [{ "counter": "n", "window": 1, "max": 9, "increment_from": "args.c" }]
                },
                "each": {
                    "limits": [{ "counter": "n", "window": 1, "max": 9, "increment_from": "args.b[*]" }],
                    "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" }
                }
            }}"#
            .parse()
            .unwrap();
            let calls = calls.iter().map(|input| {
                format!(r#"{{"tool": "run", "input": {{"a":1,"b":{input},"d":[1],"c":2}}}}"#)
            });
            let calls = calls.collect::<Vec<_>>().join(",");
            let members = members.iter().map(|(key, value)| {
                format!("{space}\"{key}\"{space}:{space}{value}{space}")
            });
            let calls = (name == "each").then(|| format!("\"calls\":[{calls}]"));
            let members = members.chain(calls).collect::<Vec<_>>().join(",");
            let body = format!(
                r#"{space}{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":{space}{{{members}}}{space},"name":"{name}"}}}}"#
            );
            // A name may stand there twice.
            let Ok(Message::Request(_, call)) = Message::parse(body.as_bytes()) else {
                return Ok(());
            };
            let params = call.params.unwrap();
            let arguments = params.span(Param::Arguments).unwrap();
            let text = std::str::from_utf8(arguments).unwrap();
            let first = Action::call_tool(name).with_arguments(text).unwrap();
            let again = Action::call_tool(name).with_read_arguments(arguments, params.long_arguments());
            prop_assert_eq!(policy.decide(&again), policy.decide(&first), "{}", text);
        }
    }

    proptest! {
        /// A list asks only whether a name is hidden, and a call how it is refused.
        #[test]
        fn a_list_hides_what_is_refused_as_hidden(
            hide in prop::collection::vec("[ab]{0,2}[*]?[ab]{1,2}", 0..3),
            entries in prop::collection::btree_map("[abB]{0,2}[*]?[abB]{1,2}", 0..5_usize, 0..5),
            risks in prop::collection::btree_map("read|write|unknown", 0..4_usize, 0..3),
            pins in prop::option::of(prop::sample::select(vec!["deny", "hide"])),
            default in prop::sample::select(vec!["allow", "deny", "hide"]),
            name in "[abAB ]{1,4}|get_a|[ab\u{e9}]{1,3}",
        ) {
            let rule = |action: usize| match action {
                0 => serde_json::json!({}),
                1 => serde_json::json!({ "action": "deny" }),
                2 => serde_json::json!({ "action": "hide" }),
                3 => serde_json::json!({ "require": [{ "conditions": [
                    { "path": "args.a", "op": "lte", "value": 5 }
                ] }] }),
                _ => serde_json::json!({ "action": "require_approval" }),
            };
            let rules = |of: &std::collections::BTreeMap<String, usize>| {
                let rules = of.iter().map(|(key, action)| (key.clone(), rule(*action)));
                rules.collect::<serde_json::Map<_, _>>()
            };
            let mut document = serde_json::json!({
                "version": "1", "default": default, "hide": hide, "tools": rules(&entries),
            });
            if !risks.is_empty() {
                document["risk"] = rules(&risks).into();
            }
            if let Some(on_drift) = pins {
                document["pins"] = serde_json::json!({ "on_drift": on_drift, "tools": {} });
            }
            let Ok(policy) = document.to_string().parse::<Policy>() else {
                return Ok(());
            };
            for action in [
                Action::call_tool(&name),
                Action::get_prompt(&name),
                Action::read_resource(&name),
                Action::other_method(&name),
            ] {
                let slow = policy.inner.rules.decide_name(&action).outcome();
                prop_assert_eq!(policy.shows(&action), slow != Outcome::Hide, "{}", document);
            }
        }
    }

    proptest! {
        /// Where all that restricts is folded, a name that is, too, is not compared again.
        #[test]
        fn a_folded_name_looks_like_nothing_but_itself(
            hide in prop::collection::vec("[ab]{0,2}[*]?[ab]{1,2}", 0..3),
            entries in prop::collection::btree_map("[abB]{0,2}[*]?[ab]{1,2}", 0..3_usize, 0..4),
            default in prop::sample::select(vec!["allow", "deny", "hide"]),
            name in "[ab]{1,4}|[abAB ]{1,4}",
        ) {
            let actions = ["allow", "deny", "hide"];
            let rule = |action: usize| serde_json::json!({ "action": actions[action] });
            let entries = entries.iter().map(|(key, action)| (key.clone(), rule(*action)));
            let entries: serde_json::Map<_, _> = entries.collect();
            let document = serde_json::json!({
                "version": "1", "default": default, "hide": hide,
                "tools": entries, "prompts": entries,
            });
            let document = document.to_string();
            // Some have ties, and are no policies.
            let (Ok(policy), Ok(mut slow)) = (document.parse::<Policy>(), document.parse::<Policy>()) else {
                return Ok(());
            };
            let rules = &mut std::sync::Arc::get_mut(&mut slow.inner).unwrap().rules;
            rules.tools.is_folded = false;
            rules.prompts.is_folded = false;
            for action in [Action::call_tool(&name), Action::get_prompt(&name)] {
                for names in [Names::All, Names::Patterns] {
                    let decide = |policy: &Policy| {
                        let decision = policy.inner.rules.decide(&action, names, &mut Unwatched);
                        format!("{decision:?}")
                    };
                    prop_assert_eq!(decide(&policy), decide(&slow), "{}", document);
                }
            }
        }
    }

    proptest! {
        /// A hidden name is answered in the words for one that is nowhere in the
        /// document: so these have to be the words that such a name gets.
        #[test]
        fn a_name_that_nothing_names_is_refused_in_the_same_words(
            hide in prop::collection::vec("[ab]{0,2}[*]?[ab]{1,2}", 0..3),
            entries in prop::collection::btree_map("[abB]{0,2}[*]?[abB]{1,2}", 0..3_usize, 0..4),
            default in prop::sample::select(vec!["deny", "hide"]),
            name in "[abAB]{1,4}",
        ) {
            let actions = ["allow", "deny", "hide"];
            let tools: serde_json::Map<_, _> = entries
                .iter()
                .map(|(key, action)| (key.clone(), serde_json::json!({ "action": actions[*action] })))
                .collect();
            let document = serde_json::json!({
                "version": "1", "default": default, "hide": hide, "tools": tools,
            });
            // Some have ties, and are no policies.
            let Ok(policy) = document.to_string().parse::<Policy>() else {
                return Ok(());
            };
            let action = Action::call_tool(&name);
            let decision = policy.decide(&action);
            if decision.outcome() == Outcome::Deny && !entries.contains_key(&name) {
                let rules = &policy.inner.rules;
                let unnamed = rules.decide(&action, Names::Patterns, &mut Unwatched);
                prop_assert_eq!(unnamed, decision, "{}", document);
            }
        }
    }
}
