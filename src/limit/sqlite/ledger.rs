//! What is done to the budgets in one transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};
use smallvec::SmallVec;

use super::rows::{Entry, Key, Whose, load_quota, settle, stored, sweep, total, total_of};
use super::{Bounds, Failure};
use crate::clock::{Moment, since_1970};
use crate::limit::asked::Asked;
use crate::limit::window::{Reading, TooMuch};
use crate::limit::{LimitCharge, LimitConclusion, LimitReservation, LimitReserved};
use crate::policy::{Amount, Period};
use crate::sqlite::presence::Presence;
use crate::store::StoreError;

/// As in memory: in so many places something that has expired is looked for when a
/// budget is made, and in so many when there is no room.
const SWEEP: usize = 4;
const SWEEP_WHEN_FULL: usize = 256;
/// As in memory: what is only tried takes no more than this part of the room.
const TRIED_PART: i64 = 2;

/// Microseconds by which somebody may come too late, or the clock go back, so that
/// time stands still rather than goes back.
const LATE: u64 = 10_000_000;

/// What is remembered of what was charged, to give it back: of more than this, the
/// oldest is not given back any more.
const MOST_CHARGED: i64 = 200_000;
/// What is remembered of what was concluded before it was reserved.
const MOST_OVERTAKEN: i64 = 10_000;

/// A process that has ended is looked for so often at most, however many calls are
/// refused because of what is under way.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const CONCLUDED: StoreError = StoreError::of("it was concluded before it was reserved");
const RESERVED: StoreError = StoreError::of("it was reserved before");
const CLOSED: StoreError = StoreError::of("the state file was closed: the program is about to end");

/// What this process knows beside what is in the file.
#[derive(Debug)]
pub(super) struct Ledger {
    presence: Presence,
    bounds: Bounds,
    /// The latest time at which anything was asked.
    latest: Option<Moment>,
    /// Where to look next for what has expired.
    sweep_from: Key,
    /// When it was looked last for processes that have ended.
    looked_at: Option<Instant>,
    /// Whether others were told that this process counts nothing any more.
    has_left: bool,
}

type Entries = SmallVec<[Entry; 4]>;

impl Ledger {
    pub(super) fn new(presence: Presence, bounds: Bounds) -> Self {
        Self {
            presence,
            bounds,
            latest: None,
            sweep_from: Key::first(),
            looked_at: None,
            has_left: false,
        }
    }

    /// What the clock of the world shows now. Who comes late does not turn it back.
    pub(super) fn shown(&mut self, moment: Moment) -> u64 {
        let latest = match self.latest {
            Some(latest) if latest.instant > moment.instant => latest,
            _ => moment,
        };
        self.latest = Some(latest);
        since_1970(latest.system)
    }

    /// What would be said to a reservation now. Nothing is changed.
    pub(super) fn ask(
        &mut self,
        file: &Connection,
        reservation: &LimitReservation,
    ) -> Result<LimitReserved, Failure> {
        let shown = self.shown(reservation.at());
        let mut entries = load(file, reservation)?;
        Ok(ask(reservation.charges(), &mut entries, shown).answer())
    }

    pub(super) fn reserve(
        &mut self,
        file: &Connection,
        reservation: &LimitReservation,
    ) -> Result<LimitReserved, Failure> {
        // Nobody would find out that it is not under way any more.
        if self.has_left {
            return Err(Failure::Own(CLOSED));
        }
        let shown = self.shown(reservation.at());
        if self.looked_at.is_none() {
            self.let_go(file, shown)?;
        }
        if is_overtaken(file, reservation)? {
            return Err(Failure::Own(CONCLUDED));
        }
        let charges = reservation.charges();
        let mut entries = load(file, reservation)?;
        let mut asked = ask(charges, &mut entries, shown);
        let is_under_way = |charge: &LimitCharge| charge.quota().period() == Period::Concurrent;
        if asked.exceeded.is_some()
            && charges.iter().any(is_under_way)
            && self.let_go(file, shown)?
        {
            entries = load(file, reservation)?;
            asked = ask(charges, &mut entries, shown);
        }
        if asked.exceeded.is_some() {
            save_set_back(file, charges, &mut entries, shown)?;
            return Ok(asked.answer());
        }
        if asked.grows {
            let Some(found) = self.make_room(file, reservation, shown)? else {
                #[cfg(feature = "metrics")]
                crate::limit::metrics::full(reservation.server());
                return Ok(LimitReserved::Full);
            };
            entries = found;
        }
        self.remember(file, reservation)?;
        let at = at(reservation);
        for (charge, entry) in charges.iter().zip(&mut entries) {
            let now = now(entry, shown);
            entry.budget.charge(charge, at, now);
            entry.save(file, charge.quota(), now)?;
        }
        Ok(asked.answer())
    }

    /// Makes room for the budgets that have to be made. What is there then; `None` if
    /// there is no room.
    fn make_room(
        &mut self,
        file: &Connection,
        reservation: &LimitReservation,
        shown: u64,
    ) -> Result<Option<Entries>, Failure> {
        let charges = reservation.charges();
        for places in [SWEEP, SWEEP_WHEN_FULL] {
            let next = sweep(file, &self.sweep_from, places, shown)?;
            self.sweep_from = next.unwrap_or_else(Key::first);
            let mut entries = load(file, reservation)?;
            ask(charges, &mut entries, shown);
            let change_where = |is_meant: &dyn Fn(&Entry) -> bool| {
                let meant = entries.iter().zip(charges).filter(|(e, _)| is_meant(e));
                let changes = meant.map(|(entry, charge)| entry.change(charge));
                changes.fold(0, i64::saturating_add)
            };
            let is_tried = entries
                .iter()
                .zip(charges)
                .any(|(entry, charge)| !charge.enforced && entry.change(charge) > 0);
            let part_of = |most: i64| if is_tried { most / TRIED_PART } else { most };
            let mut callers: Vec<&Whose> = Vec::new();
            let mut fit = true;
            for entry in entries.iter().filter(|entry| entry.key.caller.0.is_some()) {
                let key = &entry.key;
                if callers.contains(&&key.caller) {
                    continue;
                }
                callers.push(&key.caller);
                let change = change_where(&|other| other.key.caller == key.caller);
                let size = total_of(file, key)?.saturating_add(change);
                if size > part_of(self.bounds.of_one_caller) && change > 0 {
                    settle(file, key, shown)?;
                    fit = false;
                }
            }
            let change = change_where(&|_| true);
            if fit && total(file)?.saturating_add(change) <= part_of(self.bounds.in_all) {
                return Ok(Some(entries));
            }
        }
        Ok(None)
    }

    /// Remembers what is charged until it is concluded: in the file what is under
    /// way, because that ends some time also if this process is killed.
    fn remember(&self, file: &Connection, reservation: &LimitReservation) -> Result<(), Failure> {
        let id = reservation.id().to_bytes();
        let resets = resets(file)?;
        let mut is_in_file = false;
        for (place, charge) in reservation.charges().iter().enumerate() {
            if charge.quota().period() != Period::Concurrent {
                continue;
            }
            is_in_file = true;
            let key = Key::of(reservation, charge);
            let inserted = file
                .prepare_cached(
                    "INSERT OR IGNORE INTO under_way (id, charge, process, server, caller, quota,
                         session, amount, at, resets) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    id,
                    i64::try_from(place).unwrap_or(i64::MAX),
                    self.presence.name(),
                    key.server,
                    key.caller,
                    key.quota,
                    charge.session(),
                    stored(charge.amount().millionths()),
                    stored(at(reservation).elapsed),
                    resets
                ])?;
            if inserted == 0 {
                return Err(Failure::Own(RESERVED));
            }
        }
        if !is_in_file {
            let inserted = file
                .prepare_cached("INSERT OR IGNORE INTO charged (id, resets) VALUES (?, ?)")?
                .execute(params![id, resets])?;
            if inserted == 0 {
                return Err(Failure::Own(RESERVED));
            }
            let oldest = file.last_insert_rowid().saturating_sub(MOST_CHARGED);
            file.prepare_cached("DELETE FROM charged WHERE number <= ?")?
                .execute([oldest])?;
        }
        Ok(())
    }

    pub(super) fn conclude(
        &mut self,
        file: &Connection,
        reservation: &LimitReservation,
        conclusion: LimitConclusion,
        now: Moment,
    ) -> Result<(), Failure> {
        let shown = self.shown(now);
        let Some(resets_before) = recall(file, reservation)? else {
            return overtake(file, reservation);
        };
        let conclusion = match conclusion {
            // What was forgotten on request would be taken from others. Of what is
            // under way, nothing is.
            LimitConclusion::NotSent if resets_before != resets(file)? => LimitConclusion::Ended,
            _ => conclusion,
        };
        let mut concluded = Ok(());
        for charge in reservation.charges() {
            let ends = charge.quota().period() == Period::Concurrent;
            if conclusion != LimitConclusion::NotSent && !ends {
                continue;
            }
            let key = Key::of(reservation, charge);
            match conclude_one(file, (key, charge), at(reservation), (conclusion, shown)) {
                // The others are concluded all the same.
                Err(Failure::Own(error)) => concluded = Err(Failure::Own(error)),
                result => result?,
            }
        }
        concluded
    }

    /// Whatever was under way in processes that have ended breaks off now. Tells
    /// whether there was any.
    fn let_go(&mut self, file: &Connection, shown: u64) -> Result<bool, Failure> {
        let mut found = false;
        let is_recent = |at: Instant| at.elapsed() < LOOK_EVERY;
        if self.looked_at.is_some_and(is_recent) {
            return Ok(false);
        }
        self.looked_at = Some(Instant::now());
        for name in self.presence.gone(file)? {
            let mut find = file.prepare_cached(
                "SELECT server, caller, quota, session, amount, at FROM under_way
                 WHERE process = ?",
            )?;
            type Lost = (Key, Option<Box<str>>, i64, i64);
            let lost = find
                .query_map([&name], |row| {
                    Ok((Key::read(row)?, row.get(3)?, row.get(4)?, row.get(5)?))
                })?
                .collect::<rusqlite::Result<Vec<Lost>>>()?;
            for (key, session, amount, at) in lost {
                let Some(quota) = load_quota(file, &key.quota)? else {
                    continue;
                };
                let Whose(caller) = &key.caller;
                let charge = LimitCharge {
                    quota: Arc::new(quota),
                    caller: caller.as_deref().map(Into::into),
                    session: session.map(Into::into),
                    amount: Amount::from_millionths(amount.unsigned_abs()),
                    enforced: true,
                };
                let at = Reading::of_system(at.unsigned_abs());
                match conclude_one(
                    file,
                    (key, &charge),
                    at,
                    (LimitConclusion::BrokenOff, shown),
                ) {
                    Err(Failure::Own(_)) | Ok(()) => found = true,
                    Err(error) => return Err(error),
                }
            }
            file.execute("DELETE FROM under_way WHERE process = ?", [&name])?;
            self.presence.forget(file, &name)?;
        }
        Ok(found)
    }

    /// This process does not use the file any more.
    pub(super) fn leave(&mut self, file: &Connection) -> rusqlite::Result<()> {
        self.has_left = true;
        let name = self.presence.name();
        let left: i64 = file.query_row(
            "SELECT count(*) FROM under_way WHERE process = ?",
            [name],
            |row| row.get(0),
        )?;
        // What nobody concluded breaks off when somebody sees that this is gone.
        match left {
            0 => self.presence.forget(file, name),
            _ => Ok(()),
        }
    }
}

/// What a reservation is charged, and concluded, with.
fn at(reservation: &LimitReservation) -> Reading {
    Reading::of_system(since_1970(reservation.at().system))
}

fn load(file: &Connection, reservation: &LimitReservation) -> Result<Entries, Failure> {
    let charges = reservation.charges().iter();
    charges
        .map(|charge| Entry::load(file, Key::of(reservation, charge), charge.quota()))
        .collect()
}

/// What counts as now for a budget. Processes do not come in the order in which they
/// read the clock: if something was counted later, but not by much, that is when it is.
/// What was counted elsewhere is no reason: one budget would be over sooner by it.
fn now(entry: &Entry, shown: u64) -> Reading {
    let near = shown..=shown.saturating_add(LATE);
    let latest = Some(entry.latest()).filter(|latest| near.contains(latest));
    Reading::of_system(latest.unwrap_or(shown))
}

fn ask(charges: &[LimitCharge], entries: &mut Entries, shown: u64) -> Asked {
    Asked::all(charges, |place, charge| {
        let entry = entries.get_mut(place)?;
        let now = now(entry, shown);
        // Where time stands still, it takes longer by as much.
        let stands = Duration::from_micros(now.elapsed.saturating_sub(shown));
        let answer = entry
            .budget
            .admits(charge, now)
            .map_err(|TooMuch { wait }| TooMuch {
                wait: wait.map(|wait| wait.saturating_add(stands)),
            });
        Some((answer, entry.growth(charge) > 0))
    })
}

/// What was counted by a clock that has gone back since counts as counted now. That
/// has to stay so, or it would be as new whenever it is looked at.
fn save_set_back(
    file: &Connection,
    charges: &[LimitCharge],
    entries: &mut Entries,
    shown: u64,
) -> rusqlite::Result<()> {
    for (charge, entry) in charges.iter().zip(entries) {
        let now = now(entry, shown);
        if entry.latest() > now.elapsed {
            entry.save(file, charge.quota(), now)?;
        }
    }
    Ok(())
}

fn conclude_one(
    file: &Connection,
    (key, charge): (Key, &LimitCharge),
    at: Reading,
    (conclusion, shown): (LimitConclusion, u64),
) -> Result<(), Failure> {
    let quota = charge.quota();
    let mut entry = Entry::load(file, key, quota)?;
    let now = now(&entry, shown);
    entry.budget.conclude(charge, at, conclusion, now);
    entry.save(file, quota, now)?;
    Ok(())
}

/// How often something was forgotten on request.
fn resets(file: &Connection) -> rusqlite::Result<i64> {
    file.prepare_cached("SELECT resets FROM total")?
        .query_row([], |row| row.get(0))
}

/// Whether it was charged and not concluded yet: how often something had been
/// forgotten then. It is concluded now.
fn recall(file: &Connection, reservation: &LimitReservation) -> rusqlite::Result<Option<i64>> {
    let id = reservation.id().to_bytes();
    for sql in [
        "DELETE FROM charged WHERE id = ? RETURNING resets",
        "DELETE FROM under_way WHERE id = ? RETURNING resets",
    ] {
        let mut delete = file.prepare_cached(sql)?;
        let resets = delete.query_row([id], |row| row.get(0)).optional()?;
        if resets.is_some() {
            return Ok(resets);
        }
    }
    Ok(None)
}

/// It may still be reserved. Nothing is charged then.
fn overtake(file: &Connection, reservation: &LimitReservation) -> Result<(), Failure> {
    file.prepare_cached("INSERT OR IGNORE INTO overtaken (id) VALUES (?)")?
        .execute([reservation.id().to_bytes()])?;
    let oldest = file.last_insert_rowid().saturating_sub(MOST_OVERTAKEN);
    file.prepare_cached("DELETE FROM overtaken WHERE number <= ?")?
        .execute([oldest])?;
    Ok(())
}

fn is_overtaken(file: &Connection, reservation: &LimitReservation) -> rusqlite::Result<bool> {
    let deleted = file
        .prepare_cached("DELETE FROM overtaken WHERE id = ?")?
        .execute([reservation.id().to_bytes()])?;
    Ok(deleted > 0)
}
