//! What a message uses up: counted before it goes on, and given back if it does
//! not.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use smallvec::SmallVec;

use super::{SESSION, asked};
use crate::audit::{DecisionId, session_digest};
use crate::caller::Caller;
use crate::clock::{Clock, Moment, SystemClock};
use crate::limit::{
    Charge, Conclusion, LimitStore, MemoryLimitStore, Reservation, Reserved, StateId,
};
use crate::mcp::reply::Refusal;
use crate::policy::{Amount, MOST_CHARGES, OnStoreError, Period, Quota, Scope, Spending};
use crate::seam;
use crate::store::{Answer, Settled, StoreError, answer_of};
use crate::waiting::Waiting;

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
#[derive(Debug, Default)]
struct Fallback {
    store: Arc<MemoryLimitStore>,
    /// Whether the store did not answer the last time: the operator is told of that once,
    /// and not with each call.
    is_needed: AtomicBool,
}

impl Fallback {
    fn store_answered(&self) {
        if self.is_needed.load(Ordering::Relaxed) && self.is_needed.swap(false, Ordering::Relaxed) {
            tracing::info!(target: "mcp_policy", "the limit store answers again");
        }
    }

    fn store_failed(&self, error: &StoreError) {
        match self.is_needed.swap(true, Ordering::Relaxed) {
            false => {
                tracing::error!(target: "mcp_policy", %error, "the limit store did not answer");
            }
            true => {
                tracing::debug!(target: "mcp_policy", %error, "the limit store did not answer again");
            }
        }
    }
}

/// Sessions that a caller may begin in a minute, unless that is changed.
const SESSIONS_PER_MINUTE: u32 = 60;

/// They are counted by this process alone if the store does not answer: nothing
/// runs by beginning one.
fn sessions_begun(per_minute: u32) -> Arc<Quota> {
    let minute = Period::Rolling(Duration::from_secs(60));
    let quota = Quota::new("", SESSION, minute, per_minute.into(), Scope::Caller);
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
        let charged = Box::new(Charged {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            reservation: Reservation::of(id, payer.server, charges, at),
            stage,
        });
        charged.charge(Some(&self.meanwhile))
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
    ) -> Result<SmallVec<[Charge; 4]>, Arc<Quota>> {
        let mut charges: SmallVec<[Charge; 4]> = SmallVec::new();
        let mut session: Option<Arc<str>> = None;
        for Spending {
            quota,
            amount,
            enforced,
        } in spending
        {
            // What is only tried has a quota of its own beside one that is enforced.
            let same = |charge: &&mut Charge| charge.quota.id() == quota.id();
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
            charges.push(Charge {
                quota: Arc::clone(quota),
                caller: (quota.scope() != Scope::Server).then(|| self.caller.shared_id()),
                session: self
                    .session
                    .filter(|_| quota.scope() == Scope::Session)
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

/// What became of charging a message.
pub(crate) type Bill = Result<Paid, Shortage>;

/// A message that was charged what it uses up.
#[derive(Debug, Default)]
pub(crate) struct Paid {
    /// `None` if it uses up nothing.
    pub(crate) charged: Option<Box<Charged>>,
    /// The quota in shadow of which it is too much.
    pub(crate) over: Option<Arc<Quota>>,
}

/// Why a message cannot be charged.
#[derive(Debug)]
pub(crate) enum Shortage {
    /// It would be too much.
    Exceeded {
        quota: Arc<Quota>,
        retry_after: Option<Duration>,
    },
    /// There is no room for another budget.
    Full,
    /// The store did not answer.
    Store,
    /// The store panicked.
    Failed,
}

/// A charge that is known, or awaited.
#[allow(
    clippy::large_enum_variant,
    reason = "most are known, and a box would be one more allocation for each call"
)]
#[derive(Debug)]
pub(crate) enum Charging {
    Known(Bill),
    Awaited(Box<AwaitedCharge>),
}

/// A charge of which the store has not said yet whether it is admitted. If this
/// is dropped, it is given back.
#[derive(Debug)]
pub(crate) struct AwaitedCharge {
    waiting: Waiting<Reserved, StoreError>,
    /// `None` once it is known.
    charged: Option<(Box<Charged>, Meanwhile)>,
}

/// Where it is counted if the store does not answer; `None` if it is that which
/// did not.
type Meanwhile = Option<Arc<Fallback>>;

impl Future for AwaitedCharge {
    type Output = Bill;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Bill> {
        loop {
            let answer = ready!(Pin::new(&mut self.waiting).poll(context));
            let Some((charged, meanwhile)) = self.charged.take() else {
                return Poll::Ready(Err(Shortage::Store));
            };
            match charged.settled(answer, meanwhile.as_ref()) {
                Charging::Known(bill) => return Poll::Ready(bill),
                Charging::Awaited(again) => {
                    self.charged = again.charged;
                    self.waiting.go_on_with(again.waiting);
                }
            }
        }
    }
}

/// What a message was charged. Dropped before the message is
/// [sent](Self::sent), it is given back; after that it stays.
pub(crate) struct Charged {
    store: Arc<dyn LimitStore>,
    clock: Arc<dyn Clock>,
    reservation: Reservation,
    stage: Stage,
}

/// How far a message is that was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is charged.
    Asked,
    /// The server has not been called.
    Reserved,
    /// It has.
    Sent,
    /// There is nothing more to tell the store.
    Concluded,
}

/// Whether a store that did not answer may have charged something, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Perhaps,
    No,
}

impl Charged {
    fn reserve(&self) -> Answer<Reserved> {
        let reserve = || match self.stage {
            Stage::Asked => self.store.ask(&self.reservation),
            _ => self.store.reserve(&self.reservation),
        };
        answer_of("limit store", reserve)
    }

    /// Asks the store.
    fn charge(self: Box<Self>, meanwhile: Option<&Arc<Fallback>>) -> Charging {
        match self.reserve().settle() {
            // Nothing was asked, so there is nothing to take back.
            Settled::Known(Err(error)) if error != StoreError::PANICKED => {
                self.charge_meanwhile(meanwhile, &error, Asked::No)
            }
            Settled::Known(answer) => self.settled(answer, meanwhile),
            Settled::Awaited(waiting) => Charging::Awaited(Box::new(AwaitedCharge {
                waiting,
                charged: Some((self, meanwhile.cloned())),
            })),
        }
    }

    /// What comes of the answer of the store.
    fn settled(
        mut self: Box<Self>,
        answer: Result<Reserved, StoreError>,
        meanwhile: Option<&Arc<Fallback>>,
    ) -> Charging {
        if let (Ok(_), Some(meanwhile)) = (&answer, meanwhile) {
            meanwhile.store_answered();
        }
        Charging::Known(match answer {
            Ok(Reserved::Admitted { over }) => Ok(Paid {
                over: over.and_then(|index| self.quota(index)),
                charged: Some(self).filter(|charged| charged.stage != Stage::Asked),
            }),
            Ok(Reserved::Exceeded {
                charge,
                retry_after,
            }) => {
                self.stage = Stage::Concluded;
                Err(match self.quota(charge) {
                    Some(quota) => Shortage::Exceeded { quota, retry_after },
                    None => Shortage::Store,
                })
            }
            Ok(Reserved::Full) => {
                let charges = self.reservation.charges();
                let enforced = charges.iter().filter(|charge| charge.enforced).count();
                let is_mixed = enforced > 0 && enforced < charges.len();
                // What is only tried refuses nothing, for want of room neither.
                if is_mixed {
                    self.reservation.leave_enforced();
                    return self.charge(meanwhile);
                }
                self.stage = Stage::Concluded;
                match enforced {
                    0 => Ok(Paid::default()),
                    _ => Err(Shortage::Full),
                }
            }
            Err(error) => {
                return self.charge_meanwhile(meanwhile, &error, Asked::Perhaps);
            }
        })
    }

    /// Charges this process alone, if that is what all limits say of a store that
    /// does not answer.
    fn charge_meanwhile(
        mut self: Box<Self>,
        meanwhile: Option<&Arc<Fallback>>,
        error: &StoreError,
        asked: Asked,
    ) -> Charging {
        if let Some(meanwhile) = &meanwhile {
            meanwhile.store_failed(error);
        }
        let stage = self.stage;
        if asked == Asked::No {
            self.stage = Stage::Concluded;
        }
        let denies = |charge: &Charge| {
            charge.enforced && charge.quota.on_store_error() == OnStoreError::Deny
        };
        let denied = self.reservation.charges().iter().any(denies);
        let Some(meanwhile) = meanwhile.filter(|_| !denied) else {
            return Charging::Known(Err(match *error == StoreError::PANICKED {
                true => Shortage::Failed,
                false => Shortage::Store,
            }));
        };
        let charged = Box::new(Self {
            store: Arc::clone(&meanwhile.store) as Arc<dyn LimitStore>,
            clock: Arc::clone(&self.clock),
            reservation: self.reservation.clone(),
            stage,
        });
        // The store may still count it: it is told that it need not, now that
        // this is dropped.
        drop(self);
        charged.charge(None)
    }

    fn quota(&self, charge: usize) -> Option<Arc<Quota>> {
        let charge = self.reservation.charges().get(charge)?;
        Some(Arc::clone(&charge.quota))
    }

    /// The server is called: from now on it may have run.
    pub(crate) fn sent(&mut self) {
        let is_concurrent = |charge: &Charge| charge.quota.period() == Period::Concurrent;
        // Nothing else depends on what becomes of it.
        self.stage = match self.reservation.charges().iter().any(is_concurrent) {
            true => Stage::Sent,
            false => Stage::Concluded,
        };
    }

    /// Whether it was sent, and something depends on when its answer ends.
    pub(crate) fn is_under_way(&self) -> bool {
        self.stage == Stage::Sent
    }

    /// The answer has come to its end.
    pub(crate) fn ended(mut self: Box<Self>) {
        if self.stage == Stage::Sent {
            self.conclude(Conclusion::Ended);
        }
    }

    /// No byte of it was handed to the server.
    pub(crate) fn not_sent(mut self: Box<Self>) {
        self.conclude(Conclusion::NotSent);
    }

    fn conclude(&mut self, conclusion: Conclusion) {
        self.stage = Stage::Concluded;
        // Nobody is told if it fails.
        let _ = seam::asked("limit store", || {
            let now = self.clock.now();
            self.store.conclude(&self.reservation, conclusion, now);
        });
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        match self.stage {
            Stage::Reserved => self.conclude(Conclusion::NotSent),
            Stage::Sent => self.conclude(Conclusion::BrokenOff),
            Stage::Asked | Stage::Concluded => {}
        }
    }
}

impl fmt::Debug for Charged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charged")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
