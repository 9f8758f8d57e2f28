use std::time::Duration;

use serde::Serialize;

use super::Condition;

/// Which calls wait until somebody has approved exactly them, and how.
///
/// See [the page on policies](crate::docs::policy#approval).
///
/// The default, `true` in JSON, asks an operator about every call. What is written
/// as [`RuleAction::RequireApproval`](super::RuleAction::RequireApproval) is the
/// same with the reason of the rule.
///
/// ```
/// use std::time::Duration;
///
/// use mcp_policy::{
///     Action, Condition, DefaultAction, Operator, Outcome, Policy, PolicyDocument,
///     RequireApproval, Rule,
/// };
///
/// let mut approval = RequireApproval::default();
/// approval.conditions.push(Condition::new("args.amount", Operator::Gt, 500));
/// approval.reason = Some("Large refunds need a second person.".into());
/// let mut refund = Rule::allow();
/// refund.require_approval = Some(approval);
/// let mut document = PolicyDocument::new(DefaultAction::Deny);
/// document.tools.insert("refund".into(), refund);
/// let policy = Policy::try_from(document)?;
///
/// let small = Action::call_tool("refund").with_arguments(r#"{ "amount": 20 }"#)?;
/// assert!(policy.decide(&small).is_allowed());
///
/// let large = Action::call_tool("refund").with_arguments(r#"{ "amount": 501 }"#)?;
/// let asks = policy.decide(&large);
/// assert_eq!(asks.outcome(), Outcome::Ask);
/// assert_eq!(asks.rule(), "/tools/refund/require_approval");
/// let demand = asks.approval().unwrap();
/// assert_eq!(demand.reason(), Some("Large refunds need a second person."));
/// assert_eq!(demand.expires(), Duration::from_secs(600));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RequireApproval {
    /// A call waits if all of these hold, or if that cannot be decided; and every
    /// call does if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Text for who approves and for the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds that a request waits for a decision, and an approval for its use: from
    /// one to those of a week, or the document is not loaded; 600 if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<u32>,
    /// Who may approve.
    #[serde(skip_serializing_if = "Approver::is_operator")]
    pub approver: Approver,
}

impl RequireApproval {
    /// The shortest `expires` there is, in seconds.
    pub(in super::super) const SHORTEST: u32 = 1;
    /// The longest there is: a week.
    pub(in super::super) const LONGEST: u32 = 7 * 86_400;
    /// The one that is meant where none is written.
    const EXPIRES: u32 = 600;

    /// How long a request waits, and how long an approval.
    pub(in super::super) fn lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.expires.unwrap_or(Self::EXPIRES)))
    }
}

/// Who may approve a call that waits.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Approver {
    /// A named operator who is not the caller.
    #[default]
    Operator,
    /// Whoever sits at the client of the caller. That the client says yes does not
    /// show that a person did.
    Caller,
}

impl Approver {
    // serde's `skip_serializing_if` passes a reference.
    fn is_operator(&self) -> bool {
        *self == Self::Operator
    }
}
