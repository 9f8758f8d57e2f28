use serde::{Serialize, Serializer};

use super::super::quota::{Amount, LimitScope, OnStoreError};

/// How much may be used up in a time.
///
/// See [the page on policies](crate::docs::policy#limits).
///
/// ```
/// use mcp_policy::{
///     Action, Amount, DefaultAction, Limit, Policy, PolicyDocument, Rule, LimitWindow,
/// };
///
/// let mut spend = Limit::new("spend", LimitWindow::DAY, Amount::from(10_000));
/// spend.increment_from = Some("args.amount".into());
/// let mut refund = Rule::allow();
/// refund.limits.push(spend);
/// let mut document = PolicyDocument::new(DefaultAction::Deny);
/// document.tools.insert("refund".into(), refund);
/// let policy = Policy::try_from(document)?;
///
/// let call = Action::call_tool("refund").with_arguments(r#"{ "amount": 12.5 }"#)?;
/// let decision = policy.decide(&call);
/// let (quota, amount) = decision.quotas().next().unwrap();
/// assert_eq!(quota.place(), "/tools/refund/limits/spend");
/// assert_eq!(amount, Amount::from_millionths(12_500_000));
///
/// let unclear = Action::call_tool("refund").with_arguments(r#"{ "amount": "12.5" }"#)?;
/// let refused = policy.decide(&unclear);
/// assert_eq!(refused.rule(), "/tools/refund/limits/spend");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limit {
    /// Its name, which no other limit of the rule has.
    pub counter: String,
    /// The time in which it is counted.
    pub window: LimitWindow,
    /// The most that is admitted in that time.
    pub max: Amount,
    /// Whose calls count together.
    #[serde(skip_serializing_if = "is_default")]
    pub scope: LimitScope,
    /// What one call counts, if that is not 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increment: Option<Amount>,
    /// The path of a number that tells what a call counts: `args.amount`. With
    /// `[*]` in it, the sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increment_from: Option<String>,
    /// When counting begins anew.
    #[serde(skip_serializing_if = "is_default")]
    pub reset: WindowReset,
    /// How many budgets one caller has at most in any window, if each session has
    /// one of its own; 4 if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// What becomes of a call that cannot be counted, because the store does not
    /// answer.
    #[serde(skip_serializing_if = "is_default")]
    pub on_store_error: OnStoreError,
    /// Text for the caller whose call is too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_deny: Option<String>,
}

impl Limit {
    /// So many calls of each caller, in any interval of this length.
    pub fn new(counter: impl Into<String>, window: LimitWindow, max: Amount) -> Self {
        Self {
            counter: counter.into(),
            window,
            max,
            scope: LimitScope::default(),
            increment: None,
            increment_from: None,
            reset: WindowReset::default(),
            sessions: None,
            on_store_error: OnStoreError::default(),
            on_deny: None,
        }
    }
}

/// The short form of a [`Limit`] on calls, whose counter is `rate`: written
/// `"10/minute"` or `{ "max": 10, "window": 60 }`.
///
/// See [the page on policies](crate::docs::policy#rules).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RateLimit {
    /// The most that is admitted in the window.
    pub max: Amount,
    /// The time in which calls are counted.
    pub window: LimitWindow,
    /// Whose calls count together; those of each session if it is left out.
    #[serde(skip_serializing_if = "is_session")]
    pub scope: LimitScope,
}

impl RateLimit {
    /// What its counter is called.
    pub(in super::super) const COUNTER: &str = "rate";

    /// So many calls of each session, in any interval of this length.
    pub fn new(max: Amount, window: LimitWindow) -> Self {
        Self {
            max,
            window,
            scope: LimitScope::Session,
        }
    }
}

/// How many calls may be under way at once.
///
/// See [the page on policies](crate::docs::policy#rules).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MaxConcurrent {
    /// So many.
    pub max: u32,
    /// Whose calls count together.
    #[serde(skip_serializing_if = "is_default")]
    pub scope: LimitScope,
}

impl MaxConcurrent {
    /// So many of each caller.
    pub fn new(max: u32) -> Self {
        Self {
            max,
            scope: LimitScope::default(),
        }
    }
}

/// The time in which a [`Limit`] is counted, in whole seconds.
///
/// ```
/// use mcp_policy::LimitWindow;
///
/// assert_eq!(LimitWindow::from_secs(60), LimitWindow::MINUTE);
/// assert_eq!(LimitWindow::HOUR.as_secs(), 3600);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitWindow(u32);

impl LimitWindow {
    /// Written `"minute"`.
    pub const MINUTE: Self = Self(60);
    /// Written `"hour"`.
    pub const HOUR: Self = Self(3_600);
    /// Written `"day"`.
    pub const DAY: Self = Self(86_400);
    /// The shortest there is.
    pub(in super::super) const SHORTEST: Self = Self(1);
    /// The longest there is: 31 days.
    pub(in super::super) const LONGEST: Self = Self(2_678_400);

    /// So many seconds: from one to those of 31 days, or the document is not loaded.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds)
    }

    /// How many seconds it has.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The windows that have a name.
    pub(in super::super) const NAMED: [(&str, Self); 3] = [
        ("minute", Self::MINUTE),
        ("hour", Self::HOUR),
        ("day", Self::DAY),
    ];
}

impl Serialize for LimitWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Self::NAMED.iter().find(|(_, window)| window == self) {
            Some((name, _)) => serializer.serialize_str(name),
            None => serializer.serialize_u32(self.0),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for LimitWindow {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = Self::NAMED.map(|(name, _)| name);
        schemars::json_schema!({
            "description": "A minute, an hour, a day or so many seconds.",
            "anyOf": [
                { "type": "string", "enum": names },
                { "type": "integer", "minimum": Self::SHORTEST.0, "maximum": Self::LONGEST.0 },
            ],
        })
    }
}

/// When counting begins anew.
///
/// See [the page on policies](crate::docs::policy#limits).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Reset"))]
#[serde(rename_all = "lowercase")]
pub enum WindowReset {
    /// Never: no interval as long as the window holds more than what is admitted.
    #[default]
    Rolling,
    /// With each minute, hour or day of UTC.
    Calendar,
}

// serde's `skip_serializing_if` passes a reference.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_session(scope: &LimitScope) -> bool {
    *scope == LimitScope::Session
}
