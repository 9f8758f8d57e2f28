//! What a message uses up: counted before it goes on, and given back if it does
//! not.

mod charged;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use self::charged::Stage;
pub(crate) use self::charged::{AwaitedCharge, Bill, Charged, Charging, Paid, Shortage};
use super::{SESSION, asked};
use crate::audit::{DecisionId, session_digest};
use crate::caller::Caller;
use crate::clock::{Clock, Moment, SystemClock};
use crate::limit::{LimitCharge, LimitReservation, LimitStore, MemoryLimitStore, StateId};
use crate::mcp::reply::Refusal;
use crate::policy::{Amount, LimitScope, MOST_CHARGES, OnStoreError, Period, Quota, Spending};
use crate::store::{Outage, Settled, StoreError, answer_of};

/// Counts what is used up.
#[derive(Clone)]
pub(crate) struct Limits {
    store: Arc<dyn LimitStore>,
    meanwhile: Arc<Fallback>,
    clock: Arc<dyn Clock>,
    /// How many sessions a caller may begin.
    sessions_begun: Arc<Quota>,
}

/// Counts for this process alone while the store does not answer.
#[derive(Debug)]
struct Fallback {
    store: Arc<MemoryLimitStore>,
    outage: Outage,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            store: Arc::default(),
            outage: Outage::of("limit store"),
        }
    }
}

/// Sessions that a caller may begin in a minute, unless that is changed.
const SESSIONS_PER_MINUTE: u32 = 60;

/// They are counted by this process alone if the store does not answer: nothing
/// runs by beginning one.
fn sessions_begun(per_minute: u32) -> Arc<Quota> {
    let minute = Period::Rolling(Duration::from_secs(60));
    let quota = Quota::new("", SESSION, minute, per_minute.into(), LimitScope::Caller);
    Arc::new(quota.with_on_store_error(OnStoreError::Allow))
}

impl Default for Limits {
    fn default() -> Self {
        let meanwhile = Arc::<Fallback>::default();
        Self {
            store: Arc::clone(&meanwhile.store) as Arc<dyn LimitStore>,
            meanwhile,
            clock: Arc::new(SystemClock),
            sessions_begun: sessions_begun(SESSIONS_PER_MINUTE),
        }
    }
}

impl Limits {
    pub(super) fn set_store(&mut self, store: impl LimitStore) {
        self.store = Arc::new(store);
        self.meanwhile = Arc::default();
    }

    pub(super) fn set_clock(&mut self, clock: impl Clock) {
        self.clock = Arc::new(clock);
    }

    pub(super) fn set_sessions_per_minute(&mut self, most: u32) {
        self.sessions_begun = sessions_begun(most);
    }

    /// What beginning a session uses up.
    pub(super) fn of_session_begun(&self) -> Spending {
        Spending {
            quota: Arc::clone(&self.sessions_begun),
            amount: Amount::ONE,
            enforced: true,
        }
    }

    pub(super) fn now(&self) -> Result<Moment, Refusal> {
        asked("clock", || self.clock.now())
    }

    /// Remembers a state with which the client can come back.
    pub(super) fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        // Without it the client's next round is another call.
        let _ = asked("limit store", || self.store.keep_state(state, caller, now));
    }

    /// Uses a state up, and asks whether it was remembered.
    pub(super) fn use_state(&self, state: &StateId) -> Resuming {
        answer_of("limit store", || self.store.use_state(state)).settle()
    }

    /// What it answered to that, if it did.
    pub(super) fn note_state(&self, goes_on: &Result<bool, StoreError>) {
        self.meanwhile.outage.note(goes_on);
    }

    /// Whether all of this would be admitted now; nothing is charged.
    pub(super) fn ask<'s>(
        &self,
        id: DecisionId,
        payer: Payer<'_>,
        spending: impl Iterator<Item = &'s Spending>,
        at: Moment,
    ) -> Charging {
        self.begin(Stage::Asked, (id, at), payer, spending)
    }

    /// Charges all of this, or nothing.
    pub(super) fn charge<'s>(
        &self,
        id: DecisionId,
        payer: Payer<'_>,
        spending: impl Iterator<Item = &'s Spending>,
        at: Moment,
    ) -> Charging {
        self.begin(Stage::Reserved, (id, at), payer, spending)
    }

    fn begin<'s>(
        &self,
        stage: Stage,
        (id, at): (DecisionId, Moment),
        payer: Payer<'_>,
        spending: impl Iterator<Item = &'s Spending>,
    ) -> Charging {
        let charges = match payer.charges(spending) {
            Ok(charges) if charges.is_empty() => return Charging::Known(Ok(Paid::default())),
            Ok(charges) => charges,
            Err(quota) => {
                let retry_after = None;
                return Charging::Known(Err(Shortage::Exceeded { quota, retry_after }));
            }
        };
        let reservation = LimitReservation::of(id, payer.server, charges, at);
        Charged::begin(self, reservation, stage)
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

/// Whose budgets are used up.
#[derive(Debug)]
pub(crate) struct Payer<'j> {
    pub(super) server: Arc<str>,
    pub(super) caller: &'j Caller,
    /// The session, if it is known to be the caller's.
    pub(super) session: Option<&'j Arc<str>>,
}

impl Payer<'_> {
    /// One charge for each budget. An error is the quota of which more is used up
    /// at once than any admits.
    fn charges<'s>(
        &self,
        spending: impl Iterator<Item = &'s Spending>,
    ) -> Result<SmallVec<[LimitCharge; 4]>, Arc<Quota>> {
        let mut charges: SmallVec<[LimitCharge; 4]> = SmallVec::new();
        let mut session: Option<Arc<str>> = None;
        for Spending {
            quota,
            amount,
            enforced,
        } in spending
        {
            // What is only tried has a quota of its own beside one that is enforced.
            let same = |charge: &&mut LimitCharge| charge.quota.id() == quota.id();
            if let Some(charge) = charges.iter_mut().find(same) {
                charge.amount = match charge.amount.checked_add(*amount) {
                    Some(sum) => sum,
                    None if charge.enforced => return Err(Arc::clone(quota)),
                    None => Amount::MAX,
                };
                continue;
            }
            // What is only tried must not cost more than what is enforced.
            if !enforced && charges.len() >= 2 * MOST_CHARGES {
                continue;
            }
            charges.push(LimitCharge {
                quota: Arc::clone(quota),
                caller: (quota.scope() != LimitScope::Server).then(|| self.caller.shared_id()),
                session: self
                    .session
                    .filter(|_| quota.scope() == LimitScope::Session)
                    .map(|id| {
                        let digest = || session_digest(id).into();
                        Arc::clone(session.get_or_insert_with(digest))
                    }),
                amount: *amount,
                enforced: *enforced,
            });
        }
        Ok(charges)
    }
}

/// Whether a call goes on, or begins anew because its state was used before.
pub(crate) type Resuming = Settled<bool>;
