use std::time::Duration;

use super::window::{Counter, Reading};
use crate::policy::{Amount, Quota};

/// What is counted of one limit: for one caller or all, and for one session where
/// they have budgets of their own.
///
/// A store makes it of what was charged:
///
/// ```
/// use std::time::Duration;
/// use mcp_policy::{Amount, Period, Quota, LimitScope, LimitUsage, LimitFilter};
///
/// let minute = Period::Rolling(Duration::from_secs(60));
/// let place = "/tools/run/limits/runs";
/// let quota = Quota::new("team", place, minute, Amount::ONE, LimitScope::Caller);
/// let usage = LimitUsage::new("files", &quota, Amount::ONE)
///     .of_caller("alice")
///     .until_free(Duration::from_secs(20));
/// assert_eq!(usage.max(), Amount::ONE);
/// assert!(LimitFilter::default().caller("alice").includes(&usage));
/// assert!(!LimitFilter::default().caller("bob").includes(&usage));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUsage {
    pub(crate) server: Box<str>,
    pub(crate) policy: Box<str>,
    pub(crate) place: Box<str>,
    pub(crate) caller: Option<Box<str>>,
    pub(crate) session: Option<Box<str>>,
    pub(crate) used: Amount,
    pub(crate) max: Amount,
    pub(crate) free_in: Option<Duration>,
}

impl LimitUsage {
    /// So much is used up of a quota, on the server of this name (empty if it has none):
    /// by all callers and sessions together, until something is known of them.
    pub fn new(server: impl Into<Box<str>>, quota: &Quota, used: Amount) -> Self {
        Self {
            server: server.into(),
            policy: quota.policy().into(),
            place: quota.place().into(),
            caller: None,
            session: None,
            used,
            max: quota.max(),
            free_in: None,
        }
    }

    /// The same for one caller; see [`LimitCharge::caller`](super::LimitCharge::caller).
    #[must_use]
    pub fn of_caller(mut self, caller: impl Into<Box<str>>) -> Self {
        self.caller = Some(caller.into());
        self
    }

    /// The same for one session; see [`LimitCharge::session`](super::LimitCharge::session).
    #[must_use]
    pub fn of_session(mut self, session: impl Into<Box<str>>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// The same for what is used up for so long, if nothing else is charged.
    #[must_use]
    pub fn until_free(mut self, time: Duration) -> Self {
        self.free_in = Some(time);
        self
    }

    /// What a counter says, whose server, caller and session these are; `None` if
    /// nothing is counted.
    pub(crate) fn of(
        (server, caller, session): (&str, Option<&str>, Option<&str>),
        quota: &Quota,
        counter: &mut Counter,
        now: Reading,
    ) -> Option<Self> {
        let period = quota.period();
        let used = counter.used(period, now);
        (used > Amount::ZERO).then(|| Self {
            caller: caller.map(Into::into),
            session: session.map(Into::into),
            free_in: counter.expires_in(period, now),
            ..Self::new(server, quota, used)
        })
    }

    /// What the server is called; empty unless it has a name.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The name of the policy; empty if it has none.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The rule that a refusal names: `/tools/NAME/limits/COUNTER`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whose it is; `None` if all callers count together.
    pub fn caller(&self) -> Option<&str> {
        self.caller.as_deref()
    }

    /// The digest of the id of the session whose it is; `None` if it is that of
    /// everything without a budget of a session.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// How much is used up.
    pub fn used(&self) -> Amount {
        self.used
    }

    /// The most that is admitted, as of the last charge.
    pub fn max(&self) -> Amount {
        self.max
    }

    /// How long until nothing is used any more, if nothing else is charged; `None`
    /// if that depends on what is under way.
    pub fn free_in(&self) -> Option<Duration> {
        self.free_in
    }
}

/// Which [usage](LimitUsage) is meant: what is everything that was said of it. By
/// default that is all.
///
/// ```
/// use mcp_policy::LimitFilter;
///
/// let of_alice = LimitFilter::default().caller("alice").place("/all_tools/limits/calls");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitFilter {
    server: Option<Box<str>>,
    policy: Option<Box<str>>,
    place: Option<Box<str>>,
    caller: Option<Box<str>>,
}

impl LimitFilter {
    /// Of the server of this name.
    #[must_use]
    pub fn server(mut self, server: impl Into<Box<str>>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Of the policy of this name.
    #[must_use]
    pub fn policy(mut self, policy: impl Into<Box<str>>) -> Self {
        self.policy = Some(policy.into());
        self
    }

    /// Of the limit at this place.
    #[must_use]
    pub fn place(mut self, place: impl Into<Box<str>>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Of this caller.
    #[must_use]
    pub fn caller(mut self, caller: impl Into<Box<str>>) -> Self {
        self.caller = Some(caller.into());
        self
    }

    /// Whether this is meant.
    pub fn includes(&self, usage: &LimitUsage) -> bool {
        self.is_of(usage.server(), usage.caller()) && self.is_at(usage.policy(), usage.place())
    }

    /// Whether this is meant, as far as it depends on whose it is.
    pub(crate) fn is_of(&self, server: &str, caller: Option<&str>) -> bool {
        self.server.as_deref().is_none_or(|wanted| wanted == server)
            && self
                .caller
                .as_deref()
                .is_none_or(|wanted| Some(wanted) == caller)
    }

    /// Whether this is meant, as far as it depends on what it is.
    pub(crate) fn is_for(&self, quota: &Quota) -> bool {
        self.is_at(quota.policy(), quota.place())
    }

    /// The same, by the name of the policy and the place in it.
    pub(crate) fn is_at(&self, policy: &str, place: &str) -> bool {
        let is = |wanted: &Option<Box<str>>, found| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.policy, policy) && is(&self.place, place)
    }
}
