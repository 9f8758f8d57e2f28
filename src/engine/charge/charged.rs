//! A charge, from the moment at which it is asked for until the message has ended.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::{Fallback, Limits};
use crate::clock::Clock;
use crate::limit::{LimitCharge, LimitConclusion, LimitReservation, LimitReserved, LimitStore};
use crate::policy::{OnStoreError, Period, Quota};
use crate::seam;
use crate::store::{Settled, StoreAnswer, StoreError, answer_of};
use crate::waiting::Waiting;

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
    waiting: Waiting<LimitReserved, StoreError>,
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
    reservation: LimitReservation,
    stage: Stage,
}

/// How far a message is that was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
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
    /// Asks the store whether this is admitted.
    pub(super) fn begin(limits: &Limits, reservation: LimitReservation, stage: Stage) -> Charging {
        let charged = Box::new(Self {
            store: Arc::clone(&limits.store),
            clock: Arc::clone(&limits.clock),
            reservation,
            stage,
        });
        charged.charge(Some(&limits.meanwhile))
    }

    fn reserve(&self) -> StoreAnswer<LimitReserved> {
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
        answer: Result<LimitReserved, StoreError>,
        meanwhile: Option<&Arc<Fallback>>,
    ) -> Charging {
        if let (Ok(_), Some(meanwhile)) = (&answer, meanwhile) {
            meanwhile.outage.has_ended();
        }
        Charging::Known(match answer {
            Ok(LimitReserved::Admitted { over }) => Ok(Paid {
                over: over.and_then(|index| self.quota(index)),
                charged: Some(self).filter(|charged| charged.stage != Stage::Asked),
            }),
            Ok(LimitReserved::Exceeded {
                charge,
                retry_after,
            }) => {
                self.stage = Stage::Concluded;
                Err(match self.quota(charge) {
                    Some(quota) => Shortage::Exceeded { quota, retry_after },
                    None => Shortage::Store,
                })
            }
            Ok(LimitReserved::Full) => {
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
            meanwhile.outage.goes_on(error);
        }
        let stage = self.stage;
        if asked == Asked::No {
            self.stage = Stage::Concluded;
        }
        let denies = |charge: &LimitCharge| {
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
        let is_concurrent = |charge: &LimitCharge| charge.quota.period() == Period::Concurrent;
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
    #[allow(
        clippy::boxed_local,
        reason = "it is small where an address has 32 bits"
    )]
    pub(crate) fn ended(mut self: Box<Self>) {
        if self.stage == Stage::Sent {
            self.conclude(LimitConclusion::Ended);
        }
    }

    /// No byte of it was handed to the server.
    #[allow(
        clippy::boxed_local,
        reason = "it is small where an address has 32 bits"
    )]
    pub(crate) fn not_sent(mut self: Box<Self>) {
        self.conclude(LimitConclusion::NotSent);
    }

    fn conclude(&mut self, conclusion: LimitConclusion) {
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
            Stage::Reserved => self.conclude(LimitConclusion::NotSent),
            Stage::Sent => self.conclude(LimitConclusion::BrokenOff),
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
