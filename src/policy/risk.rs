//! The rules of tools that no entry names: by what they do, as far as their names and
//! definitions tell.

use std::collections::BTreeMap;

use super::condition::Regexes;
use super::decide::Names;
use super::diagnostic::{Problems, join, quote};
use super::document::PolicyDocument;
use super::pins::Seen;
use super::rule::CompiledRule;
use super::section::{Kind, View};
use crate::fold::fold;
use crate::risk::{self, RiskCategory};

/// Where the rule of a category stands.
pub(super) fn place(category: RiskCategory) -> String {
    join("/risk", category.as_str())
}

/// What `risk` of a document says.
#[derive(Debug)]
pub(super) struct Compiled(BTreeMap<RiskCategory, CompiledRule>);

impl Compiled {
    /// `None` for a document that says nothing. What does not make sense is reported.
    pub(super) fn compile(
        document: &PolicyDocument,
        view: View,
        regexes: &mut Regexes,
        problems: &mut Problems,
    ) -> Option<Self> {
        let rules = document.risk.iter().map(|(category, rule)| {
            let place = place(*category);
            let roots = Kind::Tools.roots();
            let of = (document, view);
            let rule = CompiledRule::compile(rule, place, of, roots, regexes, problems);
            (*category, rule)
        });
        let rules = Self(rules.collect());
        (!rules.0.is_empty()).then_some(rules)
    }

    /// The rule of such a tool; `None` if it follows the default.
    pub(super) fn rule(&self, known: Known) -> Option<&CompiledRule> {
        self.0.get(&known.category())
    }

    /// Whether any tool could be left out of a list.
    pub(super) fn hides_any(&self) -> bool {
        self.0.values().any(CompiledRule::hides)
    }

    /// Whether any tool could be refused, or wait.
    pub(super) fn restricts_any(&self) -> bool {
        self.0.values().any(CompiledRule::restricts)
    }
}

/// What was last seen of how dangerous a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeenRisk {
    /// The worse of what its name and its definition say.
    Definition(RiskCategory),
    /// None of its own, but tools that it could be mistaken for: the worst that
    /// was seen of these.
    LookAlike(RiskCategory),
    Nothing,
}

/// What is known of how dangerous a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// `None` if what was seen has it in it.
    by_name: Option<RiskCategory>,
    seen: SeenRisk,
}

impl Known {
    pub(super) fn of(name: &str, names: Names, seen: Seen<'_>) -> Self {
        let seen = match names {
            Names::All => seen.risk(name),
            // What is nowhere in the document is no tool of the server's either.
            Names::Patterns => SeenRisk::Nothing,
        };
        let by_name = match seen {
            SeenRisk::Definition(_) => None,
            SeenRisk::LookAlike(_) | SeenRisk::Nothing => Some(by_name(name)),
        };
        Self { by_name, seen }
    }

    /// As what it counts.
    pub(super) fn category(self) -> RiskCategory {
        let seen = match self.seen {
            SeenRisk::Definition(category) => category,
            SeenRisk::LookAlike(category) => category.max(RiskCategory::Unknown),
            SeenRisk::Nothing => RiskCategory::Unknown,
        };
        self.by_name.map_or(seen, |by_name| seen.max(by_name))
    }

    /// Why it counts as that.
    pub(super) fn why(self, name: &str) -> String {
        let assessed = risk::of_name(name);
        let words = assessed.evidence().iter().find(|evidence| {
            let category = evidence.category();
            category == assessed.category()
        });
        let words = words.map(|words| format!(" ({words})")).unwrap_or_default();
        let by_name = by_name(name);
        let seen = match self.seen {
            SeenRisk::Definition(category) if category == by_name => {
                "its definition says nothing worse".to_owned()
            }
            SeenRisk::Definition(category) => {
                format!("its definition says {}", quote(category.as_str()))
            }
            SeenRisk::LookAlike(category) => format!(
                "no definition of it was seen, but of a tool that it can be mistaken for, which is {}",
                quote(category.as_str())
            ),
            SeenRisk::Nothing => "no definition of it was seen".to_owned(),
        };
        format!(
            "nothing names it, and no pattern matches it. Its name says {}{words}, and {seen}: it \
             counts as {}",
            quote(by_name.as_str()),
            quote(self.category().as_str()),
        )
    }
}

/// What the name says, and what is left of it for a server that does not look at case
/// and white space: parts of words say nothing.
pub(crate) fn by_name(name: &str) -> RiskCategory {
    let said = risk::of_name(name).category();
    let folded = fold(name);
    if folded == name {
        return said;
    }
    let of_folded = risk::of_name(&folded).category();
    let is_worse = of_folded > RiskCategory::Unknown;
    if is_worse { said.max(of_folded) } else { said }
}
