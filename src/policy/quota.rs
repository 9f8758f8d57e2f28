use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::condition::Number;

/// How much is counted, in millionths: an exact decimal number that stores can
/// add as an integer.
///
/// ```
/// use mcp_policy::Amount;
///
/// assert_eq!(Amount::from_millionths(12_500_000).to_string(), "12.5");
/// assert_eq!(Amount::ONE.millionths(), 1_000_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// What one call counts, unless its limit says otherwise.
    pub const ONE: Self = Self(MILLION);
    /// The most that a limit admits or a call counts: 9 × 10^12.
    pub const MAX: Self = Self(9_000_000_000_000 * MILLION);

    /// So many millionths; what is more than [`MAX`](Self::MAX) is taken for it.
    pub const fn from_millionths(millionths: u64) -> Self {
        if millionths > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millionths)
        }
    }

    /// The sum of both; `None` if that is more than [`MAX`](Self::MAX).
    pub(crate) fn checked_add(self, other: Self) -> Option<Self> {
        let sum = self.0.checked_add(other.0)?;
        (sum <= Self::MAX.0).then_some(Self(sum))
    }

    /// How many millionths it is.
    pub const fn millionths(self) -> u64 {
        self.0
    }
}

const MILLION: u64 = 1_000_000;

impl From<u32> for Amount {
    fn from(whole: u32) -> Self {
        Self(u64::from(whole) * MILLION)
    }
}

/// As a number. One with so many digits that JSON readers differ about it becomes
/// a string, so that nobody takes it for another.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (whole, rest) = (self.0 / MILLION, self.0 % MILLION);
        if rest == 0 {
            return serializer.serialize_u64(whole);
        }
        let text = self.to_string();
        let float = Number::read(&text).and_then(|_| text.parse::<f64>().ok());
        match float {
            Some(float) => serializer.serialize_f64(float),
            None => serializer.serialize_str(&text),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "number", "minimum": 0, "maximum": Self::MAX.0 / MILLION,
        })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / MILLION, self.0 % MILLION);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A limit of a policy, as it is counted by a
/// [`LimitStore`](crate::LimitStore).
///
/// See [the page on policies](crate::docs::policy#limits).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    id: QuotaId,
    policy: Box<str>,
    place: Box<str>,
    period: Period,
    max: Amount,
    scope: LimitScope,
    sessions: u32,
    on_store_error: OnStoreError,
    on_deny: Option<Box<str>>,
    is_tried: bool,
}

/// Tells what a quota counts from everything else that is counted: a digest of
/// the name of the policy, the place in it, the period and the scope. How much
/// is allowed is not in it, so that changing that keeps the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaId([u8; 16]);

impl QuotaId {
    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// As hexadecimal digits.
impl fmt::Display for QuotaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// In which time a quota is counted.
///
/// That is all there is, and a store has to know all of it, or
/// [fail](crate::StoreAnswer::failed): a further one would be a change that breaks stores, on
/// purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// No interval of this length ever holds more than the quota: whole seconds,
    /// from one to 31 days.
    Rolling(Duration),
    /// A minute, hour or day of UTC.
    Calendar(CalendarUnit),
    /// What is under way at once: `max_concurrent`.
    Concurrent,
}

impl Period {
    /// The length of the window; `None` if there is none.
    pub const fn window(self) -> Option<Duration> {
        match self {
            Self::Rolling(window) => Some(window),
            Self::Calendar(unit) => Some(unit.length()),
            Self::Concurrent => None,
        }
    }
}

/// A part of the calendar, in UTC; like [`Period`] all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CalendarUnit {
    /// From second 0 to second 59.
    Minute,
    /// From minute 0 to minute 59.
    Hour,
    /// From midnight to midnight.
    Day,
}

impl CalendarUnit {
    /// How long one is.
    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }
}

/// Whose calls count together.
///
/// See [the page on policies](crate::docs::policy#limits).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Scope"))]
#[serde(rename_all = "lowercase")]
pub enum LimitScope {
    /// Those of each session of each caller.
    Session,
    /// Those of each caller.
    #[default]
    Caller,
    /// All.
    Server,
}

/// What becomes of a call that cannot be counted, because the store does not
/// answer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnStoreError {
    /// It is refused.
    #[default]
    Deny,
    /// This process alone counts it against the whole quota meanwhile.
    Allow,
}

impl Quota {
    /// A quota of the policy of this name (empty if it has none), at this place,
    /// which ends in the name of the counter. A caller has four budgets of sessions at
    /// most, unless [more or fewer](Self::with_sessions) are given, and what cannot be
    /// counted is refused.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mcp_policy::{Amount, Period, Quota, LimitScope};
    ///
    /// let minute = Period::Rolling(Duration::from_secs(60));
    /// let quota = |max| Quota::new("team", "/tools/run/limits/runs", minute, max, LimitScope::Caller);
    /// assert_eq!(quota(Amount::ONE).max(), Amount::ONE);
    /// // What was counted is kept when more is allowed.
    /// assert_eq!(quota(Amount::ONE).id(), quota(Amount::from(100)).id());
    /// ```
    pub fn new(
        policy: &str,
        place: impl Into<Box<str>>,
        period: Period,
        max: Amount,
        scope: LimitScope,
    ) -> Self {
        let place = place.into();
        Self {
            id: id_of(policy, &place, period, scope),
            policy: policy.into(),
            place,
            period,
            max,
            scope,
            sessions: DEFAULT_SESSIONS,
            on_store_error: OnStoreError::Deny,
            on_deny: None,
            is_tried: false,
        }
    }

    /// Of a rule or document that is in shadow, or not.
    pub(crate) fn with_tried(self, is_tried: bool) -> Self {
        Self { is_tried, ..self }
    }

    /// The quota by which something is counted that is only tried: the same if all
    /// that it counts is; else one beside it, because what is only tried must not
    /// use up what is enforced.
    pub(crate) fn beside_enforced(self: Arc<Self>) -> Arc<Self> {
        if self.is_tried {
            return self;
        }
        let mut digest = Sha256::new();
        digest.update(self.id.as_bytes());
        digest.update(b"tried");
        let id = first_half(digest);
        Arc::new(Self {
            id,
            is_tried: true,
            ..(*self).clone()
        })
    }

    /// With so many [budgets of sessions](Self::sessions) for each caller.
    #[must_use]
    pub fn with_sessions(self, sessions: u32) -> Self {
        Self { sessions, ..self }
    }

    pub(crate) fn with_on_store_error(self, on_store_error: OnStoreError) -> Self {
        Self {
            on_store_error,
            ..self
        }
    }

    pub(crate) fn with_on_deny(self, on_deny: Option<&str>) -> Self {
        Self {
            on_deny: on_deny.map(Into::into),
            ..self
        }
    }

    /// Tells what it counts from everything else.
    pub fn id(&self) -> QuotaId {
        self.id
    }

    /// The name of the policy; empty if it has none.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The rule that a refusal names: `/tools/NAME/limits/COUNTER`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// In which time it is counted.
    pub fn period(&self) -> Period {
        self.period
    }

    /// The most that is admitted in that time.
    pub fn max(&self) -> Amount {
        self.max
    }

    /// Whose calls count together.
    pub fn scope(&self) -> LimitScope {
        self.scope
    }

    /// How many budgets one caller has at most in any window, if each session has
    /// one of its own; the one for everything without a session is among them.
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// What becomes of calls that cannot be counted.
    pub fn on_store_error(&self) -> OnStoreError {
        self.on_store_error
    }

    /// Text for the caller whose call is too much.
    pub fn on_deny(&self) -> Option<&str> {
        self.on_deny.as_deref()
    }
}

/// Budgets of sessions that a caller has, unless the limit says otherwise.
const DEFAULT_SESSIONS: u32 = 4;

fn id_of(policy: &str, place: &str, period: Period, scope: LimitScope) -> QuotaId {
    let (kind, seconds) = match period {
        Period::Rolling(window) => (b'r', window.as_secs()),
        Period::Calendar(unit) => (b'c', unit.length().as_secs()),
        Period::Concurrent => (b'n', 0),
    };
    let scope = match scope {
        LimitScope::Session => b's',
        LimitScope::Caller => b'c',
        LimitScope::Server => b'a',
    };
    let mut digest = Sha256::new();
    // Lengths part what is variable, so that no two quotas are read alike.
    for text in [policy, place] {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    digest.update([kind, scope]);
    digest.update(seconds.to_be_bytes());
    first_half(digest)
}

fn first_half(digest: Sha256) -> QuotaId {
    let digest: [u8; 32] = digest.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(digest.split_at(16).0);
    QuotaId(id)
}

/// What a call counts, by one quota.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Spending {
    pub(crate) quota: Arc<Quota>,
    pub(crate) amount: Amount,
    /// Whether it is enforced, or only tried: then it counts and never refuses.
    pub(crate) enforced: bool,
}

/// Without the amount, which can be the value of an argument.
impl fmt::Debug for Spending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spending")
            .field("quota", &self.quota.place())
            .field("enforced", &self.enforced)
            .finish_non_exhaustive()
    }
}
