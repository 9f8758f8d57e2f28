//! Counts in the memory of this process.

mod hashing;
mod locked;
mod once;
mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use smallvec::SmallVec;

use super::usage::{LimitFilter, LimitUsage};
use super::window::Reading;
use super::{LimitCharge, LimitConclusion, LimitReservation, LimitReserved, LimitStore, StateId};
use crate::clock::{Moment, micros, since_1970};
use crate::lock::lock;
use crate::policy::Period;
use crate::store::StoreAnswer;
use hashing::Hashing;
use locked::Locked;
use once::Once;
use shard::{Key, Shard};

const SHARDS: usize = 64;

const MAX_BUDGETS: usize = 1_000_000;
const MAX_BUDGETS_PER_CALLER: usize = 1_000;
/// What is only tried takes no more than this part of the room, and leaves the rest
/// to what is enforced.
const TRIED_PART: usize = 2;

/// In so many places something that has expired is looked for when a budget is
/// made. A table has at least one budget in two of them, so that more is forgotten
/// than made.
const SWEEP: usize = 4;
/// The same, when there is no room.
const SWEEP_WHEN_FULL: usize = 256;

/// A [`LimitStore`] in the memory of this process: exact under any concurrency,
/// and forgotten when the process ends.
///
/// It has room for a million budgets, and for 1 000 of one caller on one server.
/// A budget is what is counted for one limit and one caller, or for one session.
/// Only what has expired makes room for others; when there is none, calls that
/// would need a further budget are refused as `(limits full)`. What is only tried
/// takes up half of the room at most, and is not counted beyond that. A budget with ten
/// charges in its window takes about 200 bytes, and none takes more than 1 200,
/// apart from the names of callers.
///
/// Rolling windows go by the clock that never goes back, calendar windows by that
/// of the world. An answer is always known at once.
///
/// ```
/// use std::sync::Arc;
/// use mcp_policy::MemoryLimitStore;
///
/// let store = Arc::new(MemoryLimitStore::default().max_budgets(100_000));
/// ```
pub struct MemoryLimitStore {
    shards: [Mutex<Shard>; SHARDS],
    hashing: Hashing,
    /// How many budgets there are, or are about to be.
    budgets: AtomicUsize,
    max_budgets: usize,
    max_budgets_per_caller: usize,
    /// The states with which clients can come back.
    states: Mutex<Once>,
    /// What is elapsed is counted from here: when it was asked first.
    origin: OnceLock<Instant>,
}

impl Default for MemoryLimitStore {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hashing: Hashing::default(),
            budgets: AtomicUsize::new(0),
            max_budgets: MAX_BUDGETS,
            max_budgets_per_caller: MAX_BUDGETS_PER_CALLER,
            states: Mutex::default(),
            origin: OnceLock::new(),
        }
    }
}

impl MemoryLimitStore {
    /// With room for so many budgets; by default a million.
    #[must_use]
    pub fn max_budgets(mut self, max: usize) -> Self {
        self.max_budgets = max;
        self
    }

    /// With room for so many budgets of one caller on one server; by default 1 000.
    /// Those of all callers together are not among them: the policy says how many
    /// there are.
    #[must_use]
    pub fn max_budgets_per_caller(mut self, max: usize) -> Self {
        self.max_budgets_per_caller = max;
        self
    }

    fn usage_now(&self, filter: &LimitFilter, now: Moment, most: usize) -> Vec<LimitUsage> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let mut shard = Locked::one(shard, &self.budgets);
            let now = shard.pass_time(self.reading(now));
            let shards = shard.all_mut();
            shards.for_each(|shard| shard.usage(filter, now, most, &mut found));
        }
        found
    }

    fn reset_now(&self, filter: &LimitFilter, now: Moment) {
        for shard in &self.shards {
            let mut shard = Locked::one(shard, &self.budgets);
            shard.pass_time(self.reading(now));
            shard.all_mut().for_each(|shard| shard.reset(filter));
        }
    }

    fn states(&self) -> MutexGuard<'_, Once> {
        lock(&self.states)
    }

    fn ask_now(&self, reservation: &LimitReservation) -> LimitReserved {
        let keys = self.keys(reservation);
        let Some(mut locked) = Locked::of_keys(&self.shards, &keys, &self.budgets) else {
            return LimitReserved::Admitted { over: None };
        };
        let now = locked.pass_time(self.reading(reservation.at()));
        let (asked, _) = locked.ask(&keys, reservation.charges(), now);
        asked.answer()
    }

    fn reserve_now(&self, reservation: &LimitReservation) -> LimitReserved {
        let charges = reservation.charges();
        let keys = self.keys(reservation);
        let Some(mut locked) = Locked::of_keys(&self.shards, &keys, &self.budgets) else {
            return LimitReserved::Admitted { over: None };
        };
        let at = self.reading(reservation.at());
        let now = locked.pass_time(at);
        let (asked, slots) = locked.ask(&keys, charges, now);
        if asked.exceeded.is_some() {
            return asked.answer();
        }
        if !asked.grows {
            locked.charge(charges, &slots, (at, now));
            return asked.answer();
        }
        if !self.make_room(charges, &keys, &mut locked, now) {
            #[cfg(feature = "metrics")]
            super::metrics::full(reservation.server());
            return LimitReserved::Full;
        }
        for (key, charge) in keys.iter().zip(charges) {
            if let Some(shard) = locked.of(*key) {
                shard.charge(*key, charge, (at, now), &self.hashing);
            }
        }
        asked.answer()
    }

    /// Whether there is room for the budgets that have to be made. If so, they are
    /// accounted for.
    fn make_room(
        &self,
        charges: &[LimitCharge],
        keys: &[Key<'_>],
        locked: &mut Locked<'_>,
        now: Reading,
    ) -> bool {
        [SWEEP, SWEEP_WHEN_FULL].into_iter().any(|places| {
            locked.sweep(places, now);
            let growths: SmallVec<[usize; 4]> = keys
                .iter()
                .zip(charges)
                .filter_map(|(key, charge)| Some(locked.of(*key)?.growth(*key, charge)))
                .collect();
            let grown = growths.iter().zip(charges);
            let mut grown = grown.filter(|(growth, _)| **growth > 0);
            let is_tried = grown.any(|(_, charge)| !charge.enforced);
            let part_of = |most: usize| if is_tried { most / TRIED_PART } else { most };
            let mut callers: SmallVec<[Key<'_>; 1]> = SmallVec::new();
            let mut fit = true;
            for key in keys.iter().filter(|key| key.is_of_a_caller()) {
                if callers.contains(key) {
                    continue;
                }
                callers.push(*key);
                let same = keys.iter().zip(&growths).filter(|(other, _)| *other == key);
                let growth: usize = same.map(|(_, growth)| growth).sum();
                let Some(shard) = locked.of(*key) else {
                    continue;
                };
                if shard.size_of(*key).saturating_add(growth) > part_of(self.max_budgets_per_caller)
                {
                    shard.settle(*key, now);
                    fit &= growth == 0;
                }
            }
            fit && locked.announce(growths.iter().sum(), part_of(self.max_budgets))
        })
    }

    /// The keys of the charges.
    fn keys<'a>(&self, reservation: &'a LimitReservation) -> SmallVec<[Key<'a>; 4]> {
        let mut keys: SmallVec<[Key<'a>; 4]> = SmallVec::new();
        for charge in reservation.charges() {
            let caller = charge.caller().map(|caller| &**caller);
            // Mostly they are all of one caller.
            let last = keys.last().filter(|last| last.is_for(caller)).copied();
            let new = || Key::new(&self.hashing, reservation.server(), caller);
            keys.push(last.unwrap_or_else(new));
        }
        keys
    }

    fn reading(&self, moment: Moment) -> Reading {
        let origin = self.origin.get_or_init(|| moment.instant);
        Reading {
            elapsed: micros(moment.instant.saturating_duration_since(*origin)),
            system: since_1970(moment.system),
        }
    }
}

impl LimitStore for MemoryLimitStore {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        StoreAnswer::known(self.reserve_now(reservation))
    }

    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        StoreAnswer::known(self.ask_now(reservation))
    }

    fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        self.states().keep(state, caller, now.instant);
    }

    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        StoreAnswer::known(self.states().take(state))
    }

    fn usage(
        &self,
        filter: &LimitFilter,
        now: Moment,
        most: usize,
    ) -> StoreAnswer<Vec<LimitUsage>> {
        StoreAnswer::known(self.usage_now(filter, now, most))
    }

    fn reset(&self, filter: &LimitFilter, now: Moment) -> StoreAnswer<()> {
        self.reset_now(filter, now);
        StoreAnswer::known(())
    }

    /// Nothing is remembered of reservations: this is for those that were admitted,
    /// and once for each.
    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, now: Moment) {
        // Where something ends, nothing changes but what is under way.
        let is_meant = |charge: &LimitCharge| {
            conclusion == LimitConclusion::NotSent || charge.quota().period() == Period::Concurrent
        };
        if !reservation.charges().iter().any(is_meant) {
            return;
        }
        let at = self.reading(reservation.at());
        let keys = self.keys(reservation);
        let charges = keys.iter().zip(reservation.charges());
        for (key, charge) in charges.filter(|(_, charge)| is_meant(charge)) {
            let Some(mut locked) =
                Locked::of_keys(&self.shards, std::slice::from_ref(key), &self.budgets)
            else {
                continue;
            };
            let now = locked.pass_time(self.reading(now));
            if let Some(shard) = locked.of(*key) {
                shard.conclude(*key, charge, conclusion, (at, now));
            }
        }
    }
}

impl fmt::Debug for MemoryLimitStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimitStore")
            .field("budgets", &self.budgets)
            .field("max_budgets", &self.max_budgets)
            .field("max_budgets_per_caller", &self.max_budgets_per_caller)
            .finish_non_exhaustive()
    }
}

/// What is gone is not counted among those of other stores.
#[cfg(feature = "metrics")]
impl Drop for MemoryLimitStore {
    fn drop(&mut self) {
        super::metrics::budgets_changed(*self.budgets.get_mut(), 0);
    }
}
