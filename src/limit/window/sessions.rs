//! Budgets of the sessions of one caller.

use super::counter::Counter;
use super::{LimitConclusion, Reading, TooMuch};
use crate::limit::LimitCharge;
use crate::policy::{Amount, Period, Quota};

/// The budget of everything that has no session, and those of sessions.
///
/// A session has a budget of its own for as long as anything is counted in it. So
/// nothing that was charged to two sessions in one place is in one window, and
/// what a caller can use in any window is no more than there are places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sessions {
    pub(super) rest: Counter,
    pub(super) own: Vec<Own>,
}

/// The budget of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) session: Box<str>,
    /// The earliest reading that anything in it was charged with. What the session
    /// was charged with before is in the budget of everything that has no session.
    pub(super) since: u64,
    pub(super) counter: Counter,
}

impl Sessions {
    pub(super) fn new(rest: Counter) -> Self {
        Self {
            rest,
            own: Vec::new(),
        }
    }

    pub(super) fn admits(&mut self, charge: &LimitCharge, now: Reading) -> Result<(), TooMuch> {
        let quota = charge.quota();
        self.settle(quota.period(), now);
        match self.place(charge) {
            Place::Own(place) => match self.own.get_mut(place) {
                Some(own) => own.counter.admits(charge.amount(), quota, now),
                None => Err(TooMuch { wait: None }),
            },
            Place::New => super::Budget::new_admits(charge),
            Place::Rest => self.rest.admits(charge.amount(), quota, now),
        }
    }

    pub(super) fn growth(&self, charge: &LimitCharge) -> usize {
        usize::from(matches!(self.place(charge), Place::New))
    }

    pub(super) fn charge(&mut self, charge: &LimitCharge, at: Reading, now: Reading) {
        let (amount, period) = (charge.amount(), charge.quota().period());
        self.settle(period, now);
        match (self.place(charge), charge.session()) {
            (Place::Own(place), _) => {
                if let Some(own) = self.own.get_mut(place) {
                    own.since = own.since.min(at.elapsed);
                    own.counter.charge(amount, period, now);
                }
            }
            (Place::New, Some(session)) => {
                let mut counter = Counter::new(period);
                counter.charge(amount, period, now);
                self.own.reserve_exact(1);
                self.own.push(Own {
                    session: session.into(),
                    since: at.elapsed,
                    counter,
                });
            }
            (Place::New | Place::Rest, _) => self.rest.charge(amount, period, now),
        }
    }

    /// What is under way is never lost, even if it is not clear in which budget it
    /// is: what is not found in the one is looked for in the other.
    pub(super) fn conclude(
        &mut self,
        charge: &LimitCharge,
        at: Reading,
        conclusion: LimitConclusion,
        now: Reading,
    ) {
        let period = charge.quota().period();
        let own = charge
            .session()
            .and_then(|session| self.own.iter_mut().find(|own| *own.session == *session));
        let rest = &mut self.rest;
        let (first, second) = match own {
            Some(own) if own.since <= at.elapsed => (&mut own.counter, Some(rest)),
            Some(own) => (rest, Some(&mut own.counter)),
            None => (rest, None),
        };
        let amount = charge.amount().millionths();
        let left = first.conclude(amount, period, at, conclusion, now);
        if let Some(second) = second.filter(|_| left > 0) {
            second.conclude(left, period, at, conclusion, now);
        }
    }

    pub(super) fn is_live(&mut self, period: Period, now: Reading) -> bool {
        self.settle(period, now);
        !self.own.is_empty() || self.rest.is_live(period, now)
    }

    pub(super) fn size(&self) -> usize {
        self.own.len().saturating_add(1)
    }

    pub(super) fn counters(&mut self) -> (&mut Counter, &mut [Own]) {
        (&mut self.rest, &mut self.own)
    }

    /// Forgets the budgets of sessions in which nothing is counted.
    fn settle(&mut self, period: Period, now: Reading) {
        self.own.retain_mut(|own| own.counter.is_live(period, now));
    }

    /// Where it is charged. After a limit has got fewer budgets, sessions beyond
    /// have none of their own any more.
    fn place(&self, charge: &LimitCharge) -> Place {
        let places = places(charge.quota());
        let Some(session) = charge.session() else {
            return Place::Rest;
        };
        match self.own.iter().position(|own| *own.session == *session) {
            Some(place) if place < places => Place::Own(place),
            None if charge.amount() > Amount::ZERO && self.own.len() < places => Place::New,
            _ => Place::Rest,
        }
    }
}

enum Place {
    /// In the budget at this place.
    Own(usize),
    /// In one that is to be made.
    New,
    /// In that of everything that has no session.
    Rest,
}

/// How many sessions have budgets of their own.
fn places(quota: &Quota) -> usize {
    let sessions = usize::try_from(quota.sessions()).unwrap_or(usize::MAX);
    sessions.saturating_sub(1)
}
