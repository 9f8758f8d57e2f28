use std::fmt;

use serde::Serialize;

use super::category::{RiskCategory, RiskSeverity};
use crate::mcp::shown;

/// What [`classify`](super::classify) found out of one tool.
///
/// Serialises to an object with the members `category`, `severity`, `confidence`,
/// `evidence` and `actions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assessment {
    category: RiskCategory,
    severity: RiskSeverity,
    confidence: Confidence,
    evidence: Vec<Evidence>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<ActionRisk>,
}

impl Assessment {
    pub(super) fn new(
        category: RiskCategory,
        confidence: Confidence,
        evidence: Vec<Evidence>,
        actions: Vec<ActionRisk>,
    ) -> Self {
        Self {
            category,
            severity: category.severity(),
            confidence,
            evidence,
            actions,
        }
    }

    /// The worst that it does.
    pub fn category(&self) -> RiskCategory {
        self.category
    }

    /// How much harm that can be.
    pub fn severity(&self) -> RiskSeverity {
        self.severity
    }

    /// How sure that is.
    pub fn confidence(&self) -> Confidence {
        self.confidence
    }

    /// What it rests on, the worst first. Empty of a tool that nothing is known of.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Of a tool that is told by an argument what to do: each value of it, in the
    /// order in which the schema lists them.
    pub fn actions(&self) -> &[ActionRisk] {
        &self.actions
    }
}

/// How sure an [`Assessment`] is, from little to much.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A guess, or nothing at all.
    Low,
    /// One thing says so.
    Medium,
    /// Two things say so independently, or the schema lists what is done.
    High,
}

impl Confidence {
    /// `"low"`, `"medium"` or `"high"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Words of the definition that an [`Assessment`] rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    place: EvidencePlace,
    quote: String,
    category: RiskCategory,
}

impl Evidence {
    pub(super) fn new(place: EvidencePlace, quote: &str, category: RiskCategory) -> Self {
        Self {
            place,
            quote: shown(quote),
            category,
        }
    }

    /// Where the words stand.
    pub fn place(&self) -> &EvidencePlace {
        &self.place
    }

    /// The very words. More than one are parted by `…`; control and format characters
    /// are escaped.
    pub fn quote(&self) -> &str {
        &self.quote
    }

    /// What they say by themselves.
    pub fn category(&self) -> RiskCategory {
        self.category
    }
}

/// "`delete` in the name", as a person would say it.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.quote, self.place)
    }
}

/// Where words of a definition stand.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidencePlace {
    /// In the name of the tool.
    Name,
    /// In its description, or its title where it has none.
    Description,
    /// An argument, by its path as in a policy.
    Argument(String),
    /// A value that the argument of this path can have.
    Value(String),
    /// What the server says for programs.
    Annotations,
    /// In a definition that is too long to be read whole.
    Definition,
}

impl fmt::Display for EvidencePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("in the name"),
            Self::Description => f.write_str("in the description"),
            Self::Argument(path) => write!(f, "of the argument `{}`", shown(path)),
            Self::Value(path) => write!(f, "as `{}`", shown(path)),
            Self::Annotations => f.write_str("in the annotations"),
            Self::Definition => f.write_str("in a definition too long to be read whole"),
        }
    }
}

/// What a tool does if an argument has this value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActionRisk {
    path: String,
    value: String,
    category: RiskCategory,
}

impl ActionRisk {
    pub(super) fn new(path: &str, value: &str, category: RiskCategory) -> Self {
        Self {
            path: path.to_owned(),
            value: value.to_owned(),
            category,
        }
    }

    /// Makes it as bad as this.
    pub(super) fn raise(&mut self, category: RiskCategory) {
        self.category = self.category.max(category);
    }

    /// The path of the argument, as in a policy: `args.action`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What the tool does then.
    pub fn category(&self) -> RiskCategory {
        self.category
    }
}
