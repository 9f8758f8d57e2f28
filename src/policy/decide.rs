use smallvec::SmallVec;

use super::Policy;
use super::compile::{MethodEntry, Rules, fold_method, known_method};
use super::document::{DefaultAction, MethodRule, RuleAction};
use super::fold::Folded;
use super::section::{Entry, Kind, Section, is_ordinary};
use super::uri;

impl Policy {
    /// Decides whether a caller may do something.
    ///
    /// The same action always gets the same decision: there is no clock, no
    /// counter and no I/O in it. See sections 1 and 6 of the policy language.
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
        let rules = &self.inner.rules;
        match action {
            Action::CallTool { name } => rules.judge(&rules.tools, name),
            Action::GetPrompt { name } => rules.judge(&rules.prompts, name),
            Action::ReadResource { uri } => rules.judge(&rules.resources, uri),
            Action::OtherMethod { method } => rules.other_method(method),
        }
    }

    /// What this policy says of a name that is nowhere in the document, and is
    /// otherwise like this one: only patterns and look-alikes speak of it.
    ///
    /// A hidden name is answered in these words, so that nobody can tell it
    /// from one that does not exist.
    pub(crate) fn decide_unnamed(&self, action: &Action<'_>) -> Decision<'_> {
        let rules = &self.inner.rules;
        match action {
            Action::CallTool { name } => rules.judge_unnamed(&rules.tools, name),
            Action::GetPrompt { name } => rules.judge_unnamed(&rules.prompts, name),
            Action::ReadResource { uri } => rules.judge_unnamed(&rules.resources, uri),
            Action::OtherMethod { .. } => rules.by_default(),
        }
    }
}

/// What a caller wants to do.
///
/// ```
/// use mcp_policy::Action;
///
/// let action = Action::call_tool("read_file");
/// assert!(matches!(action, Action::CallTool { name: "read_file", .. }));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Call a tool, or see it in a list.
    #[non_exhaustive]
    CallTool {
        /// The name of the tool.
        name: &'a str,
    },
    /// Get a prompt, complete its arguments, or see it in a list.
    #[non_exhaustive]
    GetPrompt {
        /// The name of the prompt.
        name: &'a str,
    },
    /// Read a resource, subscribe to it, complete its template, or see it in a
    /// list.
    #[non_exhaustive]
    ReadResource {
        /// The URI of the resource.
        uri: &'a str,
    },
    /// Send a request or notification that the language neither judges by
    /// what it names nor always lets pass.
    #[non_exhaustive]
    OtherMethod {
        /// The JSON-RPC method.
        method: &'a str,
    },
}

impl<'a> Action<'a> {
    /// Calling the tool of this name.
    pub fn call_tool(name: &'a str) -> Self {
        Self::CallTool { name }
    }

    /// Getting the prompt of this name.
    pub fn get_prompt(name: &'a str) -> Self {
        Self::GetPrompt { name }
    }

    /// Reading the resource at this URI.
    pub fn read_resource(uri: &'a str) -> Self {
        Self::ReadResource { uri }
    }

    /// Sending a message of this method.
    pub fn other_method(method: &'a str) -> Self {
        Self::OtherMethod { method }
    }
}

/// What a policy says to an [`Action`], and by which rule.
///
/// See "The rule that fired" in section 2 of the policy language, and
/// [`Policy::decide`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    outcome: Outcome,
    rule: &'p str,
    reason: Option<&'p str>,
}

impl<'p> Decision<'p> {
    /// Whether it passes.
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
    /// - `/tools/NAME`, `/methods/NAME`, `/default`: what allows.
    /// - `/tools/NAME` of a refusal: the name in question is not this one, but
    ///   can be mistaken for it.
    /// - `/resources/URI` and `/prompts/NAME`: likewise.
    /// - `(default deny)`: nothing in the document speaks of it.
    /// - `(hidden)`: hidden, by whatever part of the document. It is the same
    ///   for a name that is not in the document where these are hidden.
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

    const HIDDEN: Self = Self::refuse(Outcome::Hide, "(hidden)", None);
    const DENIED_BY_DEFAULT: Self = Self::refuse(Outcome::Deny, "(default deny)", None);
    const NO_SUCH_NAME: Self = Self::refuse(
        Outcome::Deny,
        "(protocol)",
        Some("This name is longer than names are, or has characters that do not belong into one."),
    );
    const NOT_CANONICAL: Self = Self::refuse(
        Outcome::Deny,
        "(protocol)",
        Some("This URI can be read in more than one way, and the policy does not name it."),
    );

    const fn allow(rule: &'p str) -> Self {
        Self {
            outcome: Outcome::Allow,
            rule,
            reason: None,
        }
    }

    const fn refuse(outcome: Outcome, rule: &'p str, reason: Option<&'p str>) -> Self {
        Self {
            outcome,
            rule,
            reason,
        }
    }

    /// What an entry says of names that are its own.
    fn of_entry(entry: &'p Entry) -> Self {
        match entry.action {
            RuleAction::Allow => Self::allow(entry.place()),
            RuleAction::Deny => {
                Self::refuse(Outcome::Deny, entry.action_place(), entry.reason.as_deref())
            }
            RuleAction::Hide => Self::HIDDEN,
        }
    }

    /// What an entry says of a name that can be mistaken for its own.
    fn of_look_alike(kind: Kind, entry: &'p Entry) -> Self {
        let reason = match kind {
            Kind::Tools | Kind::Prompts => {
                "This name can be mistaken for one that the policy restricts."
            }
            Kind::Resources => "This URI can be mistaken for one that the policy restricts.",
        };
        Self::refuse(Outcome::Deny, entry.place(), Some(reason))
    }

    fn of_method(entry: &'p MethodEntry) -> Self {
        match entry.rule {
            MethodRule::Allow => Self::allow(&entry.place),
            MethodRule::Deny => Self::refuse(Outcome::Deny, &entry.place, None),
        }
    }
}

/// What a [`Decision`] comes to.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It passes.
    Allow,
    /// It is refused; what it names is still listed.
    Deny,
    /// It is refused as if what it names did not exist, and that is left out
    /// of lists. Under `"default": "deny"` this is answered like
    /// `(default deny)`, because there a name that does not exist is.
    Hide,
}

impl Rules {
    /// What is hidden comes first, whichever way: else a refusal could tell
    /// that a hidden name is in the document.
    pub(super) fn judge<'r>(&'r self, section: &'r Section, name: &str) -> Decision<'r> {
        let name = &*section.kind.spelled(name);
        if section.hide.contains(name.as_bytes()) {
            return Decision::HIDDEN;
        }
        if let Some(entry) = section.entries.exact(name.as_bytes()) {
            return Decision::of_entry(entry);
        }
        if section.kind == Kind::Resources && !uri::is_canonical(name) {
            return self.not_canonical(section);
        }
        let matching = section.entries.patterns(name.as_bytes());
        let pattern = matching.max_by_key(|entry| entry.rank());
        if pattern.is_some_and(|entry| entry.action == RuleAction::Hide) {
            return Decision::HIDDEN;
        }
        if self.is_free(section) {
            return pattern.map_or_else(|| self.by_default(), |entry| Decision::of_entry(entry));
        }
        let looks = if section.restricts_any() {
            section.kind.looks(name)
        } else {
            SmallVec::new()
        };
        if looks.iter().any(|look| section.like_hidden.contains(look)) {
            return Decision::HIDDEN;
        }
        if section.kind != Kind::Resources && !is_ordinary(name) {
            return match self.default {
                DefaultAction::Allow => Decision::NO_SUCH_NAME,
                DefaultAction::Deny | DefaultAction::Hide => self.by_default(),
            };
        }
        if let Some(entry) = pattern.filter(|entry| entry.restricts()) {
            return Decision::of_entry(entry);
        }
        match (section.restricted(&looks), pattern) {
            // Nothing names it, so it stays out of lists.
            (Some(_), None) if self.default == DefaultAction::Hide => Decision::HIDDEN,
            (Some(entry), _) => Decision::of_look_alike(section.kind, entry),
            (None, Some(entry)) => Decision::of_entry(entry),
            (None, None) => self.by_default(),
        }
    }

    /// What [`judge`](Self::judge) says of a name that no entry names.
    fn judge_unnamed<'r>(&'r self, section: &'r Section, name: &str) -> Decision<'r> {
        let name = &*section.kind.spelled(name);
        let can_match = match section.kind {
            Kind::Resources => uri::is_canonical(name),
            Kind::Tools | Kind::Prompts => is_ordinary(name),
        };
        if !can_match || section.hide.patterns(name.as_bytes()).next().is_some() {
            return self.by_default();
        }
        let matching = section.entries.patterns(name.as_bytes());
        match matching.max_by_key(|entry| entry.rank()) {
            Some(entry) if entry.action == RuleAction::Hide => self.by_default(),
            Some(entry) if entry.restricts() => Decision::of_entry(entry),
            None if self.default == DefaultAction::Hide => Decision::HIDDEN,
            _ => section.restricted(&section.kind.looks(name)).map_or_else(
                || self.by_default(),
                |entry| Decision::of_look_alike(section.kind, entry),
            ),
        }
    }

    /// Whether nothing that the section could name is refused.
    fn is_free(&self, section: &Section) -> bool {
        self.default == DefaultAction::Allow && !section.restricts_any()
    }

    /// What is said of a URI that no pattern may match. It can be another way
    /// to write any other, so it is hidden if some are.
    fn not_canonical(&self, section: &Section) -> Decision<'_> {
        match self.default {
            _ if section.hides_any() => Decision::HIDDEN,
            DefaultAction::Allow if section.restricts_any() => Decision::NOT_CANONICAL,
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

    fn by_default(&self) -> Decision<'_> {
        match self.default {
            DefaultAction::Allow => Decision::allow("/default"),
            DefaultAction::Deny => Decision::DENIED_BY_DEFAULT,
            DefaultAction::Hide => Decision::HIDDEN,
        }
    }
}

impl Section {
    /// The entry whose name or pattern one of the folded forms is or matches.
    fn restricted(&self, looks: &[Folded]) -> Option<&Entry> {
        let like = &self.like_restricted;
        let entry = looks.iter().find_map(|look| {
            like.exact(look)
                .or_else(|| like.patterns(look).max_by_key(|entry| entry.rank()))
        });
        entry.map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
                prop_assert_eq!(policy.decide_unnamed(&action), decision, "{}", document);
            }
        }
    }
}
