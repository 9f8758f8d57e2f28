use std::fmt;

use serde::Serialize;

use crate::names::named;

/// What a tool does to the world, from bad to worse.
///
/// What can be undone decides: a change that can is [`Write`](Self::Write), one
/// that cannot is [`Destructive`](Self::Destructive).
///
/// ```
/// use mcp_policy::{RiskCategory, RiskSeverity};
///
/// assert!(RiskCategory::Write < RiskCategory::Unknown);
/// assert!(RiskCategory::Financial < RiskCategory::Destructive);
/// assert_eq!(RiskCategory::Financial.severity(), RiskSeverity::Critical);
/// assert_eq!(RiskCategory::Read.to_string(), "read");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RiskCategory {
    /// It only looks.
    Read,
    /// It changes what can be changed back.
    Write,
    /// Nothing tells what it does. To be treated as [`Execute`](Self::Execute).
    Unknown,
    /// It starts, stops or runs something, or sends what cannot be called back.
    Execute,
    /// It moves money, or changes what is owed.
    Financial,
    /// What it does cannot be undone.
    Destructive,
}

impl RiskCategory {
    /// All of them, from bad to worse.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::Unknown,
        Self::Execute,
        Self::Financial,
        Self::Destructive,
    ];

    /// As it is written in a policy: `"read"`, `"write"`, and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Unknown => "unknown",
            Self::Execute => "execute",
            Self::Financial => "financial",
            Self::Destructive => "destructive",
        }
    }

    /// How much a tool of this category weighs.
    pub fn severity(self) -> RiskSeverity {
        match self {
            Self::Read => RiskSeverity::Low,
            Self::Write => RiskSeverity::Medium,
            Self::Unknown | Self::Execute => RiskSeverity::High,
            Self::Financial | Self::Destructive => RiskSeverity::Critical,
        }
    }
}

named!(RiskCategory, "category of risk");

/// How much harm a tool can do, from little to much. It follows from the
/// [`RiskCategory`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RiskSeverity {
    /// Of what only reads.
    Low,
    /// Of what can be changed back.
    Medium,
    /// Of what starts, stops or runs something, and of what is not known.
    High,
    /// Of what moves money or cannot be undone.
    Critical,
}

impl RiskSeverity {
    /// `"low"`, `"medium"`, `"high"` or `"critical"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for RiskSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
