//! A part of what a [`MemoryLimitStore`](super::MemoryLimitStore) counts, behind
//! one lock.

use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::hashing::Hashing;
use crate::limit::usage::{LimitFilter, LimitUsage};
use crate::limit::window::{Budget, Reading, TooMuch};
use crate::limit::{LimitCharge, LimitConclusion};
use crate::policy::Quota;

/// Whose budgets are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    hash: u64,
    server: &'a str,
    /// `None` for those of all callers together.
    caller: Option<&'a str>,
}

impl<'a> Key<'a> {
    pub(super) fn new(hashing: &Hashing, server: &'a Arc<str>, caller: Option<&'a str>) -> Self {
        Self {
            hash: hashing.of_shared(server, caller),
            server,
            caller,
        }
    }

    pub(super) fn is_of_a_caller(&self) -> bool {
        self.caller.is_some()
    }

    /// Whether it is this very key; else it can still be equal.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&str, &str)| std::ptr::eq(one, other);
        let callers = self.caller.zip(other.caller);
        self.hash == other.hash
            && is_same((self.server, other.server))
            && self.caller.is_some() == other.caller.is_some()
            && callers.is_none_or(is_same)
    }

    /// Whether it is for this caller, or for all of them together.
    pub(super) fn is_for(&self, caller: Option<&str>) -> bool {
        match (self.caller, caller) {
            // Mostly it is the very same text.
            (Some(own), Some(caller)) => std::ptr::eq(own, caller) || own == caller,
            (None, None) => true,
            _ => false,
        }
    }

    /// A number that says where it belongs. Tables go by the other bits.
    pub(super) fn spread(&self) -> usize {
        usize::try_from(self.hash >> 32).unwrap_or_default()
    }
}

/// So many budgets of an owner are looked through before they are searched.
const LOOKED_THROUGH: usize = 8;

/// The budgets of some callers.
#[derive(Default)]
pub(super) struct Shard {
    owners: HashTable<Box<Owner>>,
    /// How many budgets there are.
    budgets: usize,
    /// The latest reading of the clock. Requests do not come in the order in which
    /// they read it, but here it never goes back.
    elapsed: u64,
    /// When something was forgotten that had not expired.
    reset_at: Option<u64>,
    /// Where to look next for what has expired.
    sweep_from: usize,
}

/// Whose budgets these are, and what they hold.
struct Owner {
    /// Of the server and, behind a space, of the caller if it is not all of them: in one
    /// piece, to save room.
    names: Box<str>,
    /// How long the name of the server is.
    server: usize,
    /// By the ids of their quotas.
    entries: SmallVec<[Entry; 1]>,
}

/// Where a budget stands in a shard, until one is made or forgotten there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    owner: usize,
    entry: usize,
}

struct Entry {
    /// As it was when it was charged last.
    quota: Arc<Quota>,
    budget: Budget,
}

impl Owner {
    fn new(key: Key<'_>) -> Self {
        let Key { server, caller, .. } = key;
        let names = match caller {
            Some(caller) => [server, " ", caller].concat(),
            None => server.to_owned(),
        };
        Self {
            names: names.into(),
            server: server.len(),
            entries: SmallVec::new(),
        }
    }

    /// The server, the caller, and what is theirs.
    fn parts(&mut self) -> (&str, Option<&str>, &mut [Entry]) {
        let (server, caller) = self.names.split_at_checked(self.server).unwrap_or_default();
        (server, caller.get(1..), &mut self.entries)
    }

    fn names(&self) -> (&str, Option<&str>) {
        let (server, caller) = self.names.split_at_checked(self.server).unwrap_or_default();
        (server, caller.get(1..))
    }

    fn is(&self, key: Key<'_>) -> bool {
        self.names() == (key.server, key.caller)
    }

    fn find(&self, quota: &Arc<Quota>) -> Result<usize, usize> {
        // Mostly the policy is still the same: then no other quota has to be looked at.
        let mut first = self.entries.iter().take(LOOKED_THROUGH);
        if let Some(place) = first.position(|entry| Arc::ptr_eq(&entry.quota, quota)) {
            return Ok(place);
        }
        let id = quota.id();
        self.entries
            .binary_search_by(|entry| entry.quota.id().cmp(&id))
    }

    /// Forgets what has expired, and tells how many budgets that were.
    fn settle(&mut self, now: Reading) -> usize {
        let before = self.size();
        self.entries
            .retain(|entry| entry.budget.is_live(&entry.quota, now));
        before.saturating_sub(self.size())
    }

    fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.budget.size()).sum()
    }
}

impl Shard {
    pub(super) fn elapsed(&self) -> u64 {
        self.elapsed
    }

    pub(super) fn pass_time(&mut self, elapsed: u64) {
        self.elapsed = self.elapsed.max(elapsed);
    }

    pub(super) fn budgets(&self) -> usize {
        self.budgets
    }

    /// Where the budgets of this owner stand.
    pub(super) fn owner(&self, key: Key<'_>) -> Option<usize> {
        self.owners
            .find_bucket_index(key.hash, |owner| owner.is(key))
    }

    /// Where the budget of this owner for this quota stands.
    pub(super) fn slot(&self, owner: usize, quota: &Arc<Quota>) -> Option<Slot> {
        let entry = self.owners.get_bucket(owner)?.find(quota).ok()?;
        Some(Slot { owner, entry })
    }

    /// Whether it would be admitted, and whether a budget would have to be made. It stands
    /// there if there is one.
    pub(super) fn admits(
        &mut self,
        slot: Option<Slot>,
        charge: &LimitCharge,
        now: Reading,
    ) -> (Result<(), TooMuch>, bool) {
        slot.and_then(|slot| {
            self.change(slot, |entry| {
                let answer = entry.budget.admits(charge, now);
                (answer, entry.budget.growth(charge) > 0)
            })
        })
        .unwrap_or_else(|| {
            let grows = Budget::growth_of_new(charge) > 0;
            (Budget::new_admits(charge), grows)
        })
    }

    /// How many budgets have to be made for it.
    pub(super) fn growth(&self, key: Key<'_>, charge: &LimitCharge) -> usize {
        let owner = self.owners.find(key.hash, |owner| owner.is(key));
        let entry = owner.and_then(|owner| owner.entries.get(owner.find(charge.quota()).ok()?));
        entry.map_or_else(
            || Budget::growth_of_new(charge),
            |entry| entry.budget.growth(charge),
        )
    }

    /// How many budgets this owner has.
    pub(super) fn size_of(&self, key: Key<'_>) -> usize {
        let owner = self.owners.find(key.hash, |owner| owner.is(key));
        owner.map_or(0, |owner| owner.size())
    }

    /// Forgets what has expired of this owner's.
    pub(super) fn settle(&mut self, key: Key<'_>, now: Reading) {
        if let Some(owner) = self.owners.find_mut(key.hash, |owner| owner.is(key)) {
            self.budgets = self.budgets.saturating_sub(owner.settle(now));
        }
    }

    /// Charges it to the budget that stands there, if there is one.
    pub(super) fn charge_at(
        &mut self,
        slot: Slot,
        charge: &LimitCharge,
        (at, now): (Reading, Reading),
    ) -> Option<()> {
        let quota = charge.quota();
        self.change(slot, |entry| {
            if !Arc::ptr_eq(&entry.quota, quota) {
                entry.quota = Arc::clone(quota);
            }
            entry.budget.charge(charge, at, now);
        })
    }

    /// Charges it, in a new budget if there is none.
    pub(super) fn charge(
        &mut self,
        key: Key<'_>,
        charge: &LimitCharge,
        (at, now): (Reading, Reading),
        hashing: &Hashing,
    ) {
        let quota = charge.quota();
        let slot = self.owner(key).and_then(|owner| self.slot(owner, quota));
        let known = slot.and_then(|slot| self.charge_at(slot, charge, (at, now)));
        if known.is_some() || Budget::growth_of_new(charge) == 0 {
            return;
        }
        let mut budget = Budget::new(quota);
        budget.charge(charge, at, now);
        self.budgets = self.budgets.saturating_add(budget.size());
        let entry = Entry {
            quota: Arc::clone(quota),
            budget,
        };
        let owner = self
            .owners
            .entry(
                key.hash,
                |owner| owner.is(key),
                |owner| hashing.of(owner.names()),
            )
            .or_insert_with(|| Box::new(Owner::new(key)))
            .into_mut();
        if let Err(place) = owner.find(quota) {
            owner.entries.reserve_exact(1);
            owner.entries.insert(place, entry);
        }
    }

    /// Does something to the budget that stands there, if there is one.
    fn change<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let owner = self.owners.get_bucket_mut(slot.owner)?;
        let entry = owner.entries.get_mut(slot.entry)?;
        let before = entry.budget.size();
        let changed = change(entry);
        let others = self.budgets.saturating_sub(before);
        self.budgets = others.saturating_add(entry.budget.size());
        Some(changed)
    }

    /// Forgets what has expired in some places, and goes on from there next time.
    pub(super) fn sweep(&mut self, places: usize, now: Reading) {
        for _ in 0..places.min(self.owners.num_buckets()) {
            if self.sweep_from >= self.owners.num_buckets() {
                self.sweep_from = 0;
            }
            if let Ok(mut found) = self.owners.get_bucket_entry(self.sweep_from) {
                let owner = found.get_mut();
                self.budgets = self.budgets.saturating_sub(owner.settle(now));
                if owner.entries.is_empty() {
                    found.remove();
                }
            }
            self.sweep_from += 1;
        }
    }

    /// Tells what became of something that was charged.
    ///
    /// What was charged before a reset may have been forgotten, and is not given
    /// back: that would be taken from others.
    pub(super) fn conclude(
        &mut self,
        key: Key<'_>,
        charge: &LimitCharge,
        conclusion: LimitConclusion,
        (at, now): (Reading, Reading),
    ) {
        let was_reset = self.reset_at.is_some_and(|reset| at.elapsed <= reset);
        let conclusion = match conclusion {
            // Of what was under way, nothing was forgotten.
            LimitConclusion::NotSent if was_reset => LimitConclusion::Ended,
            _ => conclusion,
        };
        let owner = self.owner(key);
        let slot = owner.and_then(|owner| self.slot(owner, charge.quota()));
        if let Some(slot) = slot {
            self.change(slot, |entry| {
                entry.budget.conclude(charge, at, conclusion, now);
            });
        }
    }

    /// What is counted, of what is meant, behind what was found before; until there
    /// is so much of it.
    pub(super) fn usage(
        &mut self,
        filter: &LimitFilter,
        now: Reading,
        most: usize,
        found: &mut Vec<LimitUsage>,
    ) {
        for owner in &mut self.owners {
            let (server, caller, entries) = owner.parts();
            if !filter.is_of(server, caller) {
                continue;
            }
            for entry in entries
                .iter_mut()
                .filter(|entry| filter.is_for(&entry.quota))
            {
                let Entry { quota, budget } = entry;
                for (session, counter) in budget.counters() {
                    if found.len() >= most {
                        return;
                    }
                    found.extend(LimitUsage::of(
                        (server, caller, session),
                        quota,
                        counter,
                        now,
                    ));
                }
            }
        }
    }

    /// Forgets what is counted, of what is meant.
    pub(super) fn reset(&mut self, filter: &LimitFilter) {
        self.reset_at = Some(self.elapsed);
        for owner in &mut self.owners {
            let (server, caller, entries) = owner.parts();
            if filter.is_of(server, caller) {
                let entries = entries.iter_mut();
                let meant = entries.filter(|entry| filter.is_for(&entry.quota));
                meant.for_each(|entry| entry.budget.reset());
            }
        }
    }
}
