//! Counts what calls use up, and refuses what would be too much.
//!
//! A call is charged before it is forwarded, for all of its quotas or for none.
//! What it was charged stays, whatever the answer, unless the server never saw
//! it.

mod asked;
#[cfg(feature = "_benching")]
pub(crate) mod benching;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod usage;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

pub use memory::MemoryLimitStore;
#[cfg(feature = "redis")]
pub use redis::RedisLimitStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteLimitStore;

use crate::audit::DecisionId;
use crate::clock::Moment;
use crate::policy::{Amount, Quota};
use crate::store::{StoreAnswer, StoreError};

pub use usage::{LimitFilter, LimitUsage};

/// Counts what is used up; see
/// [`PolicyLayer::limit_store`](crate::PolicyLayer::limit_store). The default is
/// [`MemoryLimitStore`]; the example `own_limit_store` is a whole one.
///
/// Budgets are told apart by [`LimitCharge::quota`] (its [id](Quota::id)), by
/// [`LimitReservation::server`] and by [`LimitCharge::caller`]; inside of a budget with
/// [`LimitScope::Session`](crate::LimitScope::Session) by [`LimitCharge::session`].
///
/// No method may block, and whatever comes from outside has to be bounded. If one
/// panics, it has not answered.
pub trait LimitStore: Send + Sync + 'static {
    /// Charges all of it, or nothing if one of the quotas that are
    /// [enforced](LimitCharge::is_enforced) does not admit it.
    ///
    /// An [error at once](StoreAnswer::failed) says that nothing is charged, and nothing will
    /// be: such a reservation is not concluded.
    ///
    /// If the same reservation was [concluded](Self::conclude) before it gets here,
    /// nothing is charged. One that was [`Full`](LimitReserved::Full) can come again, with
    /// fewer charges.
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved>;

    /// What [`reserve`](Self::reserve) would say now. Nothing is charged by it, so it
    /// may be wrong by the time that it is known: what has to be approved is asked
    /// this before anybody is bothered. By default everything is admitted.
    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        let _ = reservation;
        StoreAnswer::known(LimitReserved::Admitted { over: None })
    }

    /// Tells what became of what was reserved, some time after it was asked for:
    /// perhaps before it was answered.
    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, now: Moment);

    /// Remembers that a client of this caller was given a state with which it can come
    /// back for a further round of a call. It is not asked about after ten minutes.
    ///
    /// Nobody waits for this. Where there is no room, or it is lost, the further round is
    /// another call; so is every one by default, where nothing is remembered.
    fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        let _ = (state, caller, now);
    }

    /// Forgets such a state, and says whether it was remembered: then what was approved
    /// and charged with the first round is not asked for again.
    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        let _ = state;
        StoreAnswer::known(false)
    }

    /// What is counted now, of what is [meant](LimitFilter::includes); no more than so
    /// many, in any order. What is charged meanwhile may be in it or not.
    ///
    /// This is for operators, who can wait for longer than a call: see
    /// [`StoreAnswer::get_within`]. A store that has to look through all that it has counted
    /// may do so before it answers, so this does not belong where calls are served. By
    /// default it is an error.
    fn usage(
        &self,
        filter: &LimitFilter,
        now: Moment,
        most: usize,
    ) -> StoreAnswer<Vec<LimitUsage>> {
        let _ = (filter, now, most);
        StoreAnswer::failed(StoreError::of(
            "this store of limits cannot tell what it has counted",
        ))
    }

    /// Forgets what is counted, of what is meant. What is under way stays under way, and
    /// what was charged before and is given back later is not given back any more. Some of
    /// it may be forgotten if this fails.
    ///
    /// It is for operators, as [`usage`](Self::usage) is. By default it is an error.
    fn reset(&self, filter: &LimitFilter, now: Moment) -> StoreAnswer<()> {
        let _ = (filter, now);
        StoreAnswer::failed(StoreError::of(
            "this store of limits cannot forget what it has counted",
        ))
    }

    /// Whether what was counted is still known when the process has ended.
    fn outlives_process(&self) -> bool {
        false
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: LimitStore + ?Sized> LimitStore for Arc<S> {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        (**self).reserve(reservation)
    }

    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        (**self).ask(reservation)
    }

    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, now: Moment) {
        (**self).conclude(reservation, conclusion, now);
    }

    fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        (**self).keep_state(state, caller, now);
    }

    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        (**self).use_state(state)
    }

    fn usage(
        &self,
        filter: &LimitFilter,
        now: Moment,
        most: usize,
    ) -> StoreAnswer<Vec<LimitUsage>> {
        (**self).usage(filter, now, most)
    }

    fn reset(&self, filter: &LimitFilter, now: Moment) -> StoreAnswer<()> {
        (**self).reset(filter, now)
    }

    fn outlives_process(&self) -> bool {
        (**self).outlives_process()
    }
}

/// Tells a sealed `requestState` from all others; see [`LimitStore::keep_state`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateId([u8; 24]);

impl StateId {
    /// The id that consists of these bytes.
    pub const fn from_bytes(bytes: [u8; 24]) -> Self {
        Self(bytes)
    }

    /// The bytes that it consists of.
    pub fn as_bytes(&self) -> &[u8; 24] {
        &self.0
    }
}

/// It is part of what a client sends.
impl fmt::Debug for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateId").finish_non_exhaustive()
    }
}

/// For so long a state is remembered: longer than any is good for.
const STATE_KEPT: Duration = Duration::from_secs(12 * 60);

/// What one message uses up.
///
/// It is the layer that makes them; a test of a store can do so, too:
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mcp_policy::{
///     Amount, LimitCharge, LimitStore, MemoryLimitStore, Moment, Period, Quota, LimitReservation, LimitReserved,
///     LimitScope,
/// };
///
/// let minute = Period::Rolling(Duration::from_secs(60));
/// let place = "/tools/run/limits/runs";
/// let quota = Arc::new(Quota::new("team", place, minute, Amount::ONE, LimitScope::Caller));
/// let call = || {
///     let charge = LimitCharge::new(quota.clone(), Amount::ONE).of_caller("alice");
///     LimitReservation::new("files", [charge], Moment::now())
/// };
/// let store = MemoryLimitStore::default();
/// # futures::executor::block_on(async {
/// assert_eq!(store.reserve(&call()).get().await?, LimitReserved::Admitted { over: None });
/// let second = store.reserve(&call()).get().await?;
/// assert!(matches!(second, LimitReserved::Exceeded { charge: 0, .. }));
/// # Ok::<(), mcp_policy::StoreError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct LimitReservation {
    id: DecisionId,
    server: Arc<str>,
    charges: SmallVec<[LimitCharge; 4]>,
    at: Moment,
}

impl LimitReservation {
    /// What a message uses up that came to the server of this name (empty if it has
    /// none) at this time. Its id is one that has never been.
    ///
    /// No two of the charges may be for one budget: what a call uses up of it is all in
    /// one charge.
    pub fn new(
        server: impl Into<Arc<str>>,
        charges: impl IntoIterator<Item = LimitCharge>,
        at: Moment,
    ) -> Self {
        let charges = charges.into_iter().collect();
        Self::of(DecisionId::next(), server.into(), charges, at)
    }

    pub(crate) fn of(
        id: DecisionId,
        server: Arc<str>,
        charges: SmallVec<[LimitCharge; 4]>,
        at: Moment,
    ) -> Self {
        Self {
            id,
            server,
            charges,
            at,
        }
    }

    /// Without what is only tried.
    pub(crate) fn leave_enforced(&mut self) {
        self.charges.retain(|charge| charge.enforced);
    }

    /// Tells it from all others, of this process and of others.
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// What the server is called; empty unless it has a
    /// [name](crate::PolicyLayer::server_name).
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// What it is charged. No two of these are for one budget.
    pub fn charges(&self) -> &[LimitCharge] {
        &self.charges
    }

    /// When the message came.
    pub fn at(&self) -> Moment {
        self.at
    }
}

/// What one message uses up of one quota.
#[derive(Clone, PartialEq, Eq)]
pub struct LimitCharge {
    pub(crate) quota: Arc<Quota>,
    /// `None` if all callers count together.
    pub(crate) caller: Option<Arc<str>>,
    pub(crate) session: Option<Arc<str>>,
    pub(crate) amount: Amount,
    pub(crate) enforced: bool,
}

impl LimitCharge {
    /// So much of this quota, which is enforced: of all callers together, unless it is
    /// said [of whom](Self::of_caller).
    pub fn new(quota: Arc<Quota>, amount: Amount) -> Self {
        Self {
            quota,
            caller: None,
            session: None,
            amount,
            enforced: true,
        }
    }

    /// The same, of what the caller of this [id](crate::Caller::id) has. A quota has a
    /// budget for each caller unless its scope is [`LimitScope::Server`](crate::LimitScope::Server).
    #[must_use]
    pub fn of_caller(self, caller: impl Into<Arc<str>>) -> Self {
        Self {
            caller: Some(caller.into()),
            ..self
        }
    }

    /// The same, of what this session of the caller has. A quota has a budget for each
    /// session if its scope is [`LimitScope::Session`](crate::LimitScope::Session).
    #[must_use]
    pub fn of_session(self, session: impl Into<Arc<str>>) -> Self {
        Self {
            session: Some(session.into()),
            ..self
        }
    }

    /// The same, but only tried: it never refuses.
    #[must_use]
    pub fn tried(self) -> Self {
        Self {
            enforced: false,
            ..self
        }
    }

    /// What is used up.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// Whose budget it is; `None` if all callers have one together.
    pub fn caller(&self) -> Option<&Arc<str>> {
        self.caller.as_ref()
    }

    /// The session, if each has a budget of its own: a digest of its id. `None`
    /// is the one budget for everything that has no session, and for sessions
    /// for which there is no budget of their own any more; see
    /// [`Quota::sessions`].
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// How much.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// Whether it is refused if it is too much; else it is charged all the same,
    /// beyond the maximum.
    pub fn is_enforced(&self) -> bool {
        self.enforced
    }
}

/// Without the amount, which can be the value of an argument.
impl fmt::Debug for LimitCharge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitCharge")
            .field("quota", &self.quota.place())
            .field("enforced", &self.enforced)
            .finish_non_exhaustive()
    }
}

/// What a store says to a [`LimitReservation`].
///
/// Further answers may come, but no further fields: what a store says today it can say
/// with every later version.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitReserved {
    /// All of it was charged.
    Admitted {
        /// The place among the charges of the first that is not enforced and was
        /// too much.
        over: Option<usize>,
    },
    /// Nothing was charged, because it would be too much.
    Exceeded {
        /// The place among the charges of the first that is enforced and is too
        /// much.
        charge: usize,
        /// When the same could be admitted as far as all of them are concerned, if
        /// nothing else is charged until then: never too early, and at most the
        /// 32nd part of the window too late. `None` if that cannot be told,
        /// because one of them is more than its quota at all, or depends on when
        /// something ends.
        retry_after: Option<Duration>,
    },
    /// Nothing was charged, because there is no room for a further budget.
    Full,
}

/// What became of something that was reserved.
///
/// That is all there is, and a store has to know all of it: a further one would be a
/// change that breaks stores, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitConclusion {
    /// The server was never called: all of it is given back.
    NotSent,
    /// The answer has ended. It stays charged, and is not under way any more.
    Ended,
    /// The answer did not come to its end, or nobody waited for it. It stays
    /// charged, and counts as under way for another 60 s.
    BrokenOff,
}
