//! What tests of stores need: a clock that is turned by hand, reservations, a model
//! that keeps every charge, and what every store has to do.

pub(crate) mod contract;
pub(super) mod naive;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::executor::block_on;

use super::{LimitCharge, LimitFilter, LimitReservation, LimitReserved, LimitStore, LimitUsage};
use crate::clock::Moment;
use crate::policy::{Amount, LimitScope, Period, Quota};

/// A clock of the process and one of the world, which can be turned apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ManualClock {
    instant: Instant,
    system: SystemTime,
}

impl ManualClock {
    /// The clock of the world shows this time.
    pub(crate) fn at(system: &str) -> Self {
        let system: jiff::Timestamp = system.parse().unwrap();
        let since_1970 = system.as_microsecond().try_into().unwrap();
        Self {
            instant: Instant::now(),
            system: SystemTime::UNIX_EPOCH + Duration::from_micros(since_1970),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment {
            instant: self.instant,
            system: self.system,
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.instant += time;
        self.system += time;
    }

    /// Somebody turns the clock of the world.
    pub(crate) fn step(&mut self, micros: i64) {
        let step = Duration::from_micros(micros.unsigned_abs());
        if micros < 0 {
            self.system -= step;
        } else {
            self.system += step;
        }
    }
}

pub(crate) fn quota(place: &str, period: Period, max: u64, scope: LimitScope) -> Arc<Quota> {
    let max = Amount::from_millionths(max);
    Arc::new(Quota::new("policy", place, period, max, scope))
}

pub(crate) fn seconds(window: u64) -> Period {
    Period::Rolling(Duration::from_secs(window))
}

/// Enforced, and with amounts in millionths.
pub(crate) fn charge(quota: &Arc<Quota>, caller: &str, amount: u64) -> LimitCharge {
    LimitCharge {
        quota: Arc::clone(quota),
        caller: (quota.scope() != LimitScope::Server).then(|| caller.into()),
        session: None,
        amount: Amount::from_millionths(amount),
        enforced: true,
    }
}

pub(crate) fn of_session(charge: LimitCharge, session: &str) -> LimitCharge {
    LimitCharge {
        session: Some(session.into()),
        ..charge
    }
}

pub(crate) fn reservation(
    at: Moment,
    charges: impl IntoIterator<Item = LimitCharge>,
) -> LimitReservation {
    LimitReservation::new("server", charges, at)
}

/// What it tells, however long it takes.
pub(crate) fn usage(
    store: &impl LimitStore,
    filter: &LimitFilter,
    now: Moment,
    most: usize,
) -> Vec<LimitUsage> {
    let told = store.usage(filter, now, most).patiently();
    block_on(told).unwrap()
}

/// Has it forget, however long it takes.
pub(crate) fn reset(store: &impl LimitStore, filter: &LimitFilter, now: Moment) {
    block_on(store.reset(filter, now).patiently()).unwrap();
}

pub(crate) fn reserve(store: &dyn LimitStore, reservation: &LimitReservation) -> LimitReserved {
    block_on(store.reserve(reservation).patiently()).unwrap()
}

/// What would be said to it; nothing is charged.
pub(crate) fn ask(store: &dyn LimitStore, reservation: &LimitReservation) -> LimitReserved {
    block_on(store.ask(reservation).patiently()).unwrap()
}

pub(crate) const ADMITTED: LimitReserved = LimitReserved::Admitted { over: None };
