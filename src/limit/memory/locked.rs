//! Those parts of a store that something needs, locked together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use smallvec::SmallVec;

use super::SHARDS;
use super::shard::{Key, Shard};
use crate::limit::LimitCharge;
use crate::limit::asked::Asked;
use crate::limit::window::Reading;
use crate::lock::lock;

/// Some shards. When they are let go of, all budgets are accounted for.
pub(super) struct Locked<'a> {
    /// How many budgets there are in the whole store.
    account: &'a AtomicUsize,
    /// How many of them were here when that was accounted for last.
    known: usize,
    /// How many are accounted for that are about to be here.
    announced: usize,
    first: MutexGuard<'a, Shard>,
    first_place: usize,
    others: SmallVec<[(usize, MutexGuard<'a, Shard>); 1]>,
}

impl<'a> Locked<'a> {
    /// The shards of these keys, of which there has to be one. They are locked in
    /// the order that they have, so that nobody waits for somebody who waits.
    pub(super) fn of_keys(
        shards: &'a [Mutex<Shard>; SHARDS],
        keys: &[Key<'_>],
        account: &'a AtomicUsize,
    ) -> Option<Self> {
        let mut places: SmallVec<[usize; 4]> = keys.iter().map(place).collect();
        places.sort_unstable();
        places.dedup();
        let mut guards = places
            .iter()
            .filter_map(|place| Some((*place, lock(shards.get(*place)?))));
        let (first_place, first) = guards.next()?;
        let mut locked = Self {
            account,
            known: 0,
            announced: 0,
            first,
            first_place,
            others: guards.collect(),
        };
        locked.known = locked.budgets();
        Some(locked)
    }

    /// A single one.
    pub(super) fn one(shard: &'a Mutex<Shard>, account: &'a AtomicUsize) -> Self {
        let first = lock(shard);
        Self {
            account,
            known: first.budgets(),
            announced: 0,
            first,
            first_place: 0,
            others: SmallVec::new(),
        }
    }

    /// The one that belongs to the key, which has to be among those that it was
    /// locked for.
    pub(super) fn of(&mut self, key: Key<'_>) -> &mut Shard {
        let wanted = place(&key);
        if wanted == self.first_place {
            return &mut self.first;
        }
        let other = self.others.iter_mut().find(|(place, _)| *place == wanted);
        other.map_or(&mut self.first, |(_, shard)| shard)
    }

    pub(super) fn first(&mut self) -> &mut Shard {
        &mut self.first
    }

    /// What time it is: never earlier than it was for anybody before.
    pub(super) fn pass_time(&mut self, at: Reading) -> Reading {
        let latest = self.all().map(|shard| shard.elapsed()).max();
        let elapsed = at.elapsed.max(latest.unwrap_or_default());
        self.all_mut().for_each(|shard| shard.pass_time(elapsed));
        Reading { elapsed, ..at }
    }

    /// Whether the budgets admit these charges, each of the key at its place.
    pub(super) fn ask(&mut self, keys: &[Key<'_>], charges: &[LimitCharge], now: Reading) -> Asked {
        Asked::all(charges, |place, charge| {
            let key = keys.get(place)?;
            Some(self.of(*key).admits(*key, charge, now))
        })
    }

    /// Forgets what has expired in some places of each.
    pub(super) fn sweep(&mut self, places: usize, now: Reading) {
        self.all_mut().for_each(|shard| shard.sweep(places, now));
        self.settle_account();
    }

    /// Accounts for so many budgets that are about to be, unless there would be more
    /// than the most.
    pub(super) fn announce(&mut self, budgets: usize, most: usize) -> bool {
        let announced = self
            .account
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                before.checked_add(budgets).filter(|after| *after <= most)
            });
        if announced.is_ok() {
            self.announced = self.announced.saturating_add(budgets);
        }
        announced.is_ok()
    }

    fn settle_account(&mut self) {
        let before = self.known.saturating_add(self.announced);
        let after = self.budgets();
        // None is made that was not announced.
        if after < before {
            self.account.fetch_sub(before - after, Ordering::Relaxed);
        }
        #[cfg(feature = "metrics")]
        crate::limit::metrics::budgets_changed(self.known, after);
        (self.known, self.announced) = (after, 0);
    }

    fn budgets(&self) -> usize {
        self.all().map(|shard| shard.budgets()).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Shard> {
        let others = self.others.iter().map(|(_, shard)| &**shard);
        std::iter::once(&*self.first).chain(others)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        let others = self.others.iter_mut().map(|(_, shard)| &mut **shard);
        std::iter::once(&mut *self.first).chain(others)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.settle_account();
    }
}

fn place(key: &Key<'_>) -> usize {
    key.spread() % SHARDS
}
