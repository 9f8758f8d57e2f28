//! What the thread of the file is told.

use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::Connection;

use super::Failure;
use super::ledger::Ledger;
use super::rows::{Key, page, remove};
use crate::clock::Moment;
use crate::limit::usage::{LimitFilter, LimitUsage};
use crate::limit::window::Reading;
use crate::limit::{LimitConclusion, LimitReservation, LimitReserved};
use crate::sqlite::{Reply, Task, own};
use crate::store::StoreError;

/// Budgets that are looked at in one transaction, while calls wait.
const PAGE: i64 = 256;

type Shared = Arc<Mutex<Ledger>>;

/// Only the thread locks it. What a panic left behind in it is no worse than what
/// it knew before.
fn lock(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    crate::lock::lock(ledger)
}

pub(super) struct Reserve {
    ledger: Shared,
    reservation: LimitReservation,
    /// Whether nothing is to be charged.
    only_asks: bool,
    reply: Reply<LimitReserved>,
    answer: Option<Result<LimitReserved, StoreError>>,
}

impl Reserve {
    pub(super) fn new(
        ledger: &Shared,
        reservation: LimitReservation,
        reply: Reply<LimitReserved>,
    ) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            reservation,
            only_asks: false,
            reply,
            answer: None,
        }
    }

    /// The same, without charging anything.
    pub(super) fn only_asking(self) -> Self {
        Self {
            only_asks: true,
            ..self
        }
    }
}

impl Task for Reserve {
    fn is_wanted(&self) -> bool {
        !self.reply.is_canceled()
    }

    fn only_reads(&self) -> bool {
        self.only_asks
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut ledger = lock(&self.ledger);
        let answer = match self.only_asks {
            true => ledger.ask(connection, &self.reservation),
            false => ledger.reserve(connection, &self.reservation),
        };
        self.answer = Some(own(answer)?);
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        if let Some(answer) = self.answer {
            // Who does not wait any more says so by concluding it.
            let _ = self.reply.send(answer);
        }
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}

pub(super) struct Conclude {
    ledger: Shared,
    reservation: LimitReservation,
    how: (LimitConclusion, Moment),
}

impl Conclude {
    pub(super) fn new(
        ledger: &Shared,
        reservation: LimitReservation,
        how: (LimitConclusion, Moment),
    ) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            reservation,
            how,
        }
    }
}

impl Task for Conclude {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let (conclusion, now) = self.how;
        let mut ledger = lock(&self.ledger);
        let concluded = ledger.conclude(connection, &self.reservation, conclusion, now);
        if let Err(error) = own(concluded)? {
            tracing::error!(target: "mcp_policy", %error, "a call stays charged");
        }
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        None
    }

    /// It is not lost: else what has ended would be under way.
    fn failed(self: Box<Self>, _: &StoreError) -> Option<Box<dyn Task>> {
        Some(self)
    }
}

/// Tells others that this process does not use the file any more.
pub(super) struct Leave {
    ledger: Shared,
    /// Who waits for it, if anybody does.
    reply: Option<Reply<()>>,
}

impl Leave {
    pub(super) fn new(ledger: &Shared, reply: Option<Reply<()>>) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            reply,
        }
    }

    fn answer(self, answer: Result<(), StoreError>) {
        if let Some(reply) = self.reply {
            let _ = reply.send(answer);
        }
    }
}

impl Task for Leave {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        lock(&self.ledger).leave(connection)
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        self.answer(Ok(()));
        None
    }

    /// Others will see it.
    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        self.answer(Err(error.clone()));
        None
    }
}

/// Goes through all budgets, page by page.
struct Walk {
    ledger: Shared,
    filter: LimitFilter,
    now: Moment,
    behind: Key,
    /// `None` until the end, or an error, is reached.
    end: Option<Result<(), StoreError>>,
}

impl Walk {
    fn new(ledger: &Shared, filter: LimitFilter, now: Moment) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            filter,
            now,
            behind: Key::first(),
            end: None,
        }
    }

    fn shown(&self) -> u64 {
        lock(&self.ledger).shown(self.now)
    }

    fn turn(&mut self, last: Option<Key>, found: usize) {
        match last.filter(|_| i64::try_from(found).is_ok_and(|found| found >= PAGE)) {
            Some(last) => self.behind = last,
            None => self.end = Some(Ok(())),
        }
    }
}

/// Collects what is counted.
pub(super) struct See {
    walk: Walk,
    most: usize,
    found: Vec<LimitUsage>,
    reply: Reply<Vec<LimitUsage>>,
}

impl See {
    pub(super) fn new(
        ledger: &Shared,
        filter: LimitFilter,
        (now, most): (Moment, usize),
        reply: Reply<Vec<LimitUsage>>,
    ) -> Self {
        Self {
            walk: Walk::new(ledger, filter, now),
            most,
            found: Vec::new(),
            reply,
        }
    }

    fn see(&mut self, connection: &Connection) -> Result<(), Failure> {
        let shown = self.walk.shown();
        let rows = page(connection, &self.walk.behind, PAGE)?;
        let last = rows.last().map(|(key, ..)| key.clone());
        let rows_found = rows.len();
        for (key, _, entry) in rows {
            let (server, caller) = (&*key.server, key.caller.0.as_deref());
            if !self.walk.filter.is_of(server, caller) {
                continue;
            }
            let (quota, mut entry) = entry?;
            if !self.walk.filter.is_for(&quota) {
                continue;
            }
            let now = Reading::of_system(shown);
            for (session, counter) in entry.budget.counters() {
                if self.found.len() >= self.most {
                    self.walk.end = Some(Ok(()));
                    return Ok(());
                }
                let usage = LimitUsage::of((server, caller, session), &quota, counter, now);
                self.found.extend(usage);
            }
        }
        self.walk.turn(last, rows_found);
        Ok(())
    }
}

impl Task for See {
    fn is_wanted(&self) -> bool {
        !self.reply.is_canceled()
    }

    fn only_reads(&self) -> bool {
        true
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let seen = self.see(connection);
        if let Err(error) = own(seen)? {
            self.walk.end = Some(Err(error));
        }
        Ok(())
    }

    fn done(mut self: Box<Self>) -> Option<Box<dyn Task>> {
        let Some(end) = self.walk.end.take() else {
            return Some(self);
        };
        let Self { reply, found, .. } = *self;
        let _ = reply.send(end.map(|()| found));
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}

/// Forgets what is counted.
pub(super) struct Forget {
    walk: Walk,
    reply: Reply<()>,
}

impl Forget {
    pub(super) fn new(ledger: &Shared, filter: LimitFilter, now: Moment, reply: Reply<()>) -> Self {
        let walk = Walk::new(ledger, filter, now);
        Self { walk, reply }
    }

    fn forget(&mut self, connection: &Connection) -> Result<(), Failure> {
        let shown = self.walk.shown();
        // What was charged before this is not given back any more.
        connection.execute("UPDATE total SET resets = resets + 1", [])?;
        let rows = page(connection, &self.walk.behind, PAGE)?;
        let last = rows.last().map(|(key, ..)| key.clone());
        let rows_found = rows.len();
        for (key, size, entry) in rows {
            if !self.walk.filter.is_of(&key.server, key.caller.0.as_deref()) {
                continue;
            }
            match entry {
                Ok((quota, mut entry)) if self.walk.filter.is_for(&quota) => {
                    entry.budget.reset();
                    entry.save(connection, &quota, Reading::of_system(shown))?;
                }
                Ok(_) => {}
                // Nobody can tell which limit it is of, and it refuses everything.
                Err(_) => remove(connection, &key, size)?,
            }
        }
        self.walk.turn(last, rows_found);
        Ok(())
    }
}

impl Task for Forget {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let forgotten = self.forget(connection);
        if let Err(error) = own(forgotten)? {
            self.walk.end = Some(Err(error));
        }
        Ok(())
    }

    fn done(mut self: Box<Self>) -> Option<Box<dyn Task>> {
        let Some(end) = self.walk.end.take() else {
            return Some(self);
        };
        let _ = self.reply.send(end);
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}
