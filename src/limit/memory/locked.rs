//! Those parts of a store that something needs, locked together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use smallvec::{SmallVec, smallvec};

use super::SHARDS;
use super::shard::{Key, Shard, Slot};
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
    places: Places,
    /// In the order of their places.
    shards: SmallVec<[MutexGuard<'a, Shard>; 2]>,
}

/// Places of shards: a bit for each.
#[derive(Clone, Copy)]
struct Places(u64);

const _: () = assert!(SHARDS == u64::BITS as usize, "each shard has a bit");

impl Places {
    fn of(keys: &[Key<'_>]) -> Self {
        Self(keys.iter().fold(0, |places, key| places | bit(key)))
    }

    /// In their order.
    fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let place = left.trailing_zeros();
            left &= left.checked_sub(1)?;
            usize::try_from(place).ok()
        })
    }

    /// How many there are before that of the key.
    fn before(self, key: &Key<'_>) -> usize {
        let before = self.0 & (bit(key) - 1);
        usize::try_from(before.count_ones()).unwrap_or_default()
    }
}

fn bit(key: &Key<'_>) -> u64 {
    1 << (key.spread() % SHARDS)
}

/// Where the budget of each charge stands that has one, for as long as none is made or
/// forgotten: in which of the locked shards, and there.
pub(super) type Slots = SmallVec<[Option<(usize, Slot)>; 4]>;

impl<'a> Locked<'a> {
    /// The shards of these keys, of which there has to be one. They are locked in
    /// the order that they have, so that nobody waits for somebody who waits.
    pub(super) fn of_keys(
        shards: &'a [Mutex<Shard>; SHARDS],
        keys: &[Key<'_>],
        account: &'a AtomicUsize,
    ) -> Option<Self> {
        let places = Places::of(keys);
        let guards = places.iter().filter_map(|place| shards.get(place));
        let shards: SmallVec<_> = guards.map(lock).collect();
        (!shards.is_empty()).then(|| Self::new(account, places, shards))
    }

    /// A single one.
    pub(super) fn one(shard: &'a Mutex<Shard>, account: &'a AtomicUsize) -> Self {
        // Nothing is looked for by a key.
        Self::new(account, Places(0), smallvec![lock(shard)])
    }

    fn new(
        account: &'a AtomicUsize,
        places: Places,
        shards: SmallVec<[MutexGuard<'a, Shard>; 2]>,
    ) -> Self {
        let mut locked = Self {
            account,
            known: 0,
            announced: 0,
            places,
            shards,
        };
        locked.known = locked.budgets();
        locked
    }

    /// The one that belongs to the key, which has to be among those that it was
    /// locked for.
    pub(super) fn of(&mut self, key: Key<'_>) -> Option<&mut Shard> {
        let place = self.places.before(&key);
        self.shards.get_mut(place).map(|shard| &mut **shard)
    }

    /// What time it is: never earlier than it was for anybody before.
    pub(super) fn pass_time(&mut self, at: Reading) -> Reading {
        let latest = self.all().map(|shard| shard.elapsed()).max();
        let elapsed = at.elapsed.max(latest.unwrap_or_default());
        self.all_mut().for_each(|shard| shard.pass_time(elapsed));
        Reading { elapsed, ..at }
    }

    /// Whether the budgets admit these charges, each of the key at its place; and where
    /// these budgets stand.
    pub(super) fn ask(
        &mut self,
        keys: &[Key<'_>],
        charges: &[LimitCharge],
        now: Reading,
    ) -> (Asked, Slots) {
        let mut slots = Slots::new();
        // Mostly they are all of one caller, whose budgets are found once.
        let mut last: Option<(&Key<'_>, usize, Option<usize>)> = None;
        let asked = Asked::all(charges, |place, charge| {
            let Some(key) = keys.get(place) else {
                slots.push(None);
                return None;
            };
            let (place, owner) = match last {
                Some((last, place, owner)) if last.is_same_as(key) => (place, owner),
                _ => {
                    let place = self.places.before(key);
                    let shard = self.shards.get(place);
                    (place, shard.and_then(|shard| shard.owner(*key)))
                }
            };
            last = Some((key, place, owner));
            let Some(shard) = self.shards.get_mut(place) else {
                slots.push(None);
                return None;
            };
            let slot = owner.and_then(|owner| shard.slot(owner, charge.quota()));
            slots.push(slot.map(|slot| (place, slot)));
            Some(shard.admits(slot, charge, now))
        });
        (asked, slots)
    }

    /// Charges what needs no further budget, where nothing was made or forgotten since it
    /// was asked about.
    pub(super) fn charge(
        &mut self,
        charges: &[LimitCharge],
        slots: &Slots,
        (at, now): (Reading, Reading),
    ) {
        for (charge, slot) in charges.iter().zip(slots) {
            // What has no budget and needs none is nothing.
            let Some((place, slot)) = *slot else {
                continue;
            };
            if let Some(shard) = self.shards.get_mut(place) {
                shard.charge_at(slot, charge, (at, now));
            }
        }
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
        self.shards.iter().map(|shard| &**shard)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.shards.iter_mut().map(|shard| &mut **shard)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.settle_account();
    }
}
