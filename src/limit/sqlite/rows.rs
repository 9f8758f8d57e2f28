//! Budgets as rows of a table.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Failure;
use crate::clock::micros;
use crate::limit::window::{Budget, Reading, UNREADABLE};
use crate::limit::{LimitCharge, LimitReservation};
use crate::policy::{Amount, CalendarUnit, LimitScope, Period, Quota};
use crate::store::StoreError;

/// Something is under way: nobody knows when it ends.
const NEVER: i64 = i64::MAX;

/// No window is as long: what expires later was counted by a clock that was wrong.
const LONGEST: i64 = 32 * 86_400 * 1_000_000;

/// Whose budgets these are; `None` if all callers count together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whose(pub(super) Option<Box<str>>);

impl ToSql for Whose {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match &self.0 {
            Some(caller) => ToSqlOutput::from(&**caller),
            None => ToSqlOutput::from(0_i64),
        })
    }
}

impl FromSql for Whose {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(0) => Ok(Self(None)),
            ValueRef::Text(_) => Ok(Self(Some(value.as_str()?.into()))),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// Where a budget is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) server: Box<str>,
    pub(super) caller: Whose,
    pub(super) quota: Vec<u8>,
}

impl Key {
    /// Before all others.
    pub(super) fn first() -> Self {
        Self {
            server: "".into(),
            caller: Whose(None),
            quota: Vec::new(),
        }
    }

    pub(super) fn of(reservation: &LimitReservation, charge: &LimitCharge) -> Self {
        Self {
            server: (&**reservation.server()).into(),
            caller: Whose(charge.caller().map(|caller| (&**caller).into())),
            quota: charge.quota().id().as_bytes().to_vec(),
        }
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            server: row.get("server")?,
            caller: row.get("caller")?,
            quota: row.get("quota")?,
        })
    }
}

/// A budget, and what of it is in the file.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) budget: Budget,
    /// `None` if it is not.
    stored: Option<Stored>,
}

#[derive(Clone, Copy)]
struct Stored {
    size: i64,
    latest: u64,
    max: i64,
}

impl Entry {
    /// The budget at this place; one of which nothing was charged if there is none.
    pub(super) fn load(file: &Connection, key: Key, quota: &Quota) -> Result<Self, Failure> {
        let mut find = file.prepare_cached(
            "SELECT counted, size, latest, max FROM budget JOIN quota ON quota.id = budget.quota
             WHERE server = ? AND caller = ? AND budget.quota = ?",
        )?;
        let found = find
            .query_row(params![key.server, key.caller, key.quota], |row| {
                let counted: Vec<u8> = row.get(0)?;
                Ok((counted, Stored::read(row)?))
            })
            .optional()?;
        let (budget, stored) = match found {
            Some((counted, stored)) => (Budget::decode(quota, &counted)?, Some(stored)),
            None => (Budget::new(quota), None),
        };
        Ok(Self {
            key,
            budget,
            stored,
        })
    }

    /// When it was counted last; 0 if it is not in the file.
    pub(super) fn latest(&self) -> u64 {
        self.stored.map_or(0, |stored| stored.latest)
    }

    /// How many budgets have to be made for it.
    pub(super) fn growth(&self, charge: &LimitCharge) -> usize {
        match self.stored {
            Some(_) => self.budget.growth(charge),
            None => Budget::growth_of_new(charge),
        }
    }

    /// By how many budgets there will be more when it is charged; or fewer, as
    /// sessions have expired.
    pub(super) fn change(&self, charge: &LimitCharge) -> i64 {
        let growth = size(self.growth(charge));
        self.stored.map_or(growth, |stored| {
            let kept = size(self.budget.size());
            growth.saturating_add(kept).saturating_sub(stored.size)
        })
    }

    /// Writes what is counted now, if anything is.
    pub(super) fn save(
        &mut self,
        file: &Connection,
        quota: &Quota,
        now: Reading,
    ) -> rusqlite::Result<()> {
        let expires = match self.budget.expires_in(quota, now) {
            Some(Duration::ZERO) => return self.remove(file),
            Some(wait) => stored(now.elapsed.saturating_add(micros(wait))),
            None => NEVER,
        };
        let mut counted = Vec::new();
        self.budget.encode(&mut counted);
        let size = size(self.budget.size());
        let Key {
            server,
            caller,
            quota: id,
        } = &self.key;
        let max = stored(quota.max().millionths());
        if self.stored.is_none_or(|stored| stored.max != max) {
            save_quota(file, quota, max)?;
        }
        let latest = stored(now.elapsed);
        file.prepare_cached(
            "INSERT INTO budget (server, caller, quota, counted, size, latest, expires)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET counted = excluded.counted, size = excluded.size,
                 latest = excluded.latest, expires = excluded.expires",
        )?
        .execute(params![server, caller, id, counted, size, latest, expires])?;
        let before = self.stored.map_or(0, |stored| stored.size);
        self.stored = Some(Stored {
            size,
            latest: now.elapsed,
            max,
        });
        change_total(file, size.saturating_sub(before))
    }

    fn remove(&mut self, file: &Connection) -> rusqlite::Result<()> {
        match self.stored.take() {
            Some(stored) => remove(file, &self.key, stored.size),
            None => Ok(()),
        }
    }
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            size: row.get("size")?,
            latest: row.get::<_, i64>("latest")?.try_into().unwrap_or(0),
            max: row.get("max")?,
        })
    }
}

fn size(budgets: usize) -> i64 {
    i64::try_from(budgets).unwrap_or(i64::MAX)
}

/// A number as the file holds it.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn remove(file: &Connection, key: &Key, size: i64) -> rusqlite::Result<()> {
    file.prepare_cached("DELETE FROM budget WHERE server = ? AND caller = ? AND quota = ?")?
        .execute(params![key.server, key.caller, key.quota])?;
    change_total(file, size.saturating_neg())
}

fn change_total(file: &Connection, change: i64) -> rusqlite::Result<()> {
    if change != 0 {
        file.prepare_cached("UPDATE total SET budgets = budgets + ?")?
            .execute([change])?;
    }
    Ok(())
}

/// How many budgets there are.
pub(super) fn total(file: &Connection) -> rusqlite::Result<i64> {
    file.prepare_cached("SELECT budgets FROM total")?
        .query_row([], |row| row.get(0))
}

/// How many budgets this owner has.
pub(super) fn total_of(file: &Connection, key: &Key) -> rusqlite::Result<i64> {
    file.prepare_cached(
        "SELECT coalesce(sum(size), 0) FROM budget WHERE server = ? AND caller = ?",
    )?
    .query_row(params![key.server, key.caller], |row| row.get(0))
}

/// Forgets what has expired of this owner's.
pub(super) fn settle(file: &Connection, key: &Key, now: u64) -> rusqlite::Result<()> {
    let freed: i64 = file
        .prepare_cached(
            "SELECT coalesce(sum(size), 0) FROM budget
             WHERE server = ? AND caller = ? AND expires <= ?",
        )?
        .query_row(params![key.server, key.caller, stored(now)], |row| {
            row.get(0)
        })?;
    file.prepare_cached("DELETE FROM budget WHERE server = ? AND caller = ? AND expires <= ?")?
        .execute(params![key.server, key.caller, stored(now)])?;
    change_total(file, freed.saturating_neg())
}

/// Forgets what has expired in some places behind this one. Where to go on, if that
/// was not the end.
pub(super) fn sweep(
    file: &Connection,
    behind: &Key,
    places: usize,
    now: u64,
) -> Result<Option<Key>, Failure> {
    let places = i64::try_from(places).unwrap_or(i64::MAX);
    let mut next = file.prepare_cached(
        "SELECT server, caller, quota, size, expires FROM budget
         WHERE (server, caller, quota) > (?, ?, ?) ORDER BY server, caller, quota LIMIT ?",
    )?;
    let rows = next
        .query_map(
            params![behind.server, behind.caller, behind.quota, places],
            |row| Ok((Key::read(row)?, row.get(3)?, row.get(4)?)),
        )?
        .collect::<rusqlite::Result<Vec<(Key, i64, i64)>>>()?;
    let is_end = i64::try_from(rows.len()).is_ok_and(|found| found < places);
    let last = rows.last().map(|(key, ..)| key.clone());
    for (key, size, expires) in rows {
        if expires <= stored(now) {
            remove(file, &key, size)?;
        } else if expires != NEVER && expires.saturating_sub(stored(now)) > LONGEST {
            settle_far(file, key, Reading::of_system(now))?;
        }
    }
    Ok(last.filter(|_| !is_end))
}

/// Counts as now what is counted in the far future. What cannot be read stays.
fn settle_far(file: &Connection, key: Key, now: Reading) -> Result<(), Failure> {
    let Some(quota) = load_quota(file, &key.quota)? else {
        return Ok(());
    };
    match Entry::load(file, key, &quota) {
        Ok(mut entry) => Ok(entry.save(file, &quota, now)?),
        Err(Failure::Own(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Some budgets behind this place: each with its quota, or an error if that or what
/// is counted cannot be read.
pub(super) type Found = (Key, i64, Result<(Quota, Entry), StoreError>);

pub(super) fn page(file: &Connection, behind: &Key, most: i64) -> Result<Vec<Found>, Failure> {
    let mut next = file.prepare_cached(
        "SELECT server, caller, quota, size FROM budget
         WHERE (server, caller, quota) > (?, ?, ?) ORDER BY server, caller, quota LIMIT ?",
    )?;
    let keys = next
        .query_map(
            params![behind.server, behind.caller, behind.quota, most],
            |row| Ok((Key::read(row)?, row.get(3)?)),
        )?
        .collect::<rusqlite::Result<Vec<(Key, i64)>>>()?;
    let mut found = Vec::new();
    for (key, size) in keys {
        let read = || {
            let quota = load_quota(file, &key.quota)?.ok_or(Failure::Own(UNREADABLE))?;
            let entry = Entry::load(file, key.clone(), &quota)?;
            Ok((quota, entry))
        };
        let entry = match read() {
            Ok(entry) => Ok(entry),
            Err(Failure::Own(error)) => Err(error),
            Err(error) => return Err(error),
        };
        found.push((key, size, entry));
    }
    Ok(found)
}

fn save_quota(file: &Connection, quota: &Quota, max: i64) -> rusqlite::Result<()> {
    let period = match quota.period() {
        Period::Rolling(window) => stored(window.as_secs()),
        Period::Calendar(unit) => stored(unit.length().as_secs()).saturating_neg(),
        Period::Concurrent => 0,
    };
    let scope = match quota.scope() {
        LimitScope::Session => 0,
        LimitScope::Caller => 1,
        LimitScope::Server => 2,
    };
    file.prepare_cached(
        "INSERT INTO quota (id, policy, place, period, scope, max) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET max = excluded.max",
    )?
    .execute(params![
        quota.id().as_bytes(),
        quota.policy(),
        quota.place(),
        period,
        scope,
        max
    ])?;
    Ok(())
}

/// What is stored of a quota; `None` if it cannot be read.
pub(super) fn load_quota(file: &Connection, id: &[u8]) -> rusqlite::Result<Option<Quota>> {
    let mut find =
        file.prepare_cached("SELECT policy, place, period, scope, max FROM quota WHERE id = ?")?;
    let quota = find
        .query_row([id], |row| {
            let (policy, place): (Box<str>, Box<str>) = (row.get(0)?, row.get(1)?);
            let period = match row.get::<_, i64>(2)? {
                0 => Period::Concurrent,
                -60 => Period::Calendar(CalendarUnit::Minute),
                -3_600 => Period::Calendar(CalendarUnit::Hour),
                -86_400 => Period::Calendar(CalendarUnit::Day),
                seconds => Period::Rolling(Duration::from_secs(seconds.unsigned_abs())),
            };
            let scope = match row.get::<_, i64>(3)? {
                0 => LimitScope::Session,
                1 => LimitScope::Caller,
                _ => LimitScope::Server,
            };
            let max = Amount::from_millionths(row.get::<_, i64>(4)?.try_into().unwrap_or(0));
            Ok(Quota::new(&policy, place, period, max, scope))
        })
        .optional()?;
    let is_it = |quota: &Arc<Quota>| quota.id().as_bytes() == id;
    let quota = quota.map(Arc::new).and_then(|quota| {
        let beside = Arc::clone(&quota).beside_enforced();
        [quota, beside].into_iter().find(is_it)
    });
    Ok(quota.map(Arc::unwrap_or_clone))
}
